//! Reservations and payments that seem to have no order because they are younger than the snapshot
//! of the orders.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::error::AuditError;
use super::invariants::PAYMENT_HAS_ORDER;
use super::reader;
use super::report::{Audit, HoldWithoutOrder, MAX_EXAMPLES, MAX_HOLDS, is_clean, to_i64};
use super::session::{TimeLimit, lock_tables};

/// Rows whose order is not in the snapshot.
pub struct Orphans {
    holds: Vec<HoldWithoutOrder>,
    /// The orders of successful payments.
    payments: Vec<Uuid>,
}

#[derive(QueryableByName)]
struct OrderId {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
}

impl Orphans {
    /// Reads them in the transaction that made the audit.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(connection: &mut AsyncPgConnection) -> Result<Self, AuditError> {
        let holds = reader::holds_without_order(connection, None).await?;
        let statement = "SELECT order_id FROM payments p WHERE status = 'SUCCESS'
                         AND NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)";
        let payments: Vec<OrderId> = diesel::sql_query(statement).load(connection).await?;
        Ok(Self {
            holds,
            payments: payments.into_iter().map(|row| row.order_id).collect(),
        })
    }

    /// Keeps those whose order is not in a new snapshot either. Call it after the transaction that
    /// made the audit.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recheck(
        mut self,
        connection: &mut AsyncPgConnection,
        limit: TimeLimit,
    ) -> Result<Self, AuditError> {
        let ids: Vec<_> = self
            .holds
            .iter()
            .map(|hold| hold.order_id)
            .chain(self.payments.iter().copied())
            .collect();
        if ids.is_empty() {
            return Ok(self);
        }
        let statement = "SELECT id AS order_id FROM orders WHERE id = ANY ($1)";
        let mut transaction = connection.build_transaction().read_only();
        let found: Vec<OrderId> = transaction
            .run(async |connection| {
                lock_tables(connection, &["orders"], limit).await?;
                let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(ids);
                Ok::<_, AuditError>(query.load(connection).await?)
            })
            .await?;
        let found: HashSet<_> = found.into_iter().map(|row| row.order_id).collect();
        self.holds.retain(|hold| !found.contains(&hold.order_id));
        self.payments.retain(|order_id| !found.contains(order_id));
        Ok(self)
    }

    /// Replaces what the audit's own snapshot showed.
    pub fn correct(self, audit: &mut Audit) {
        let Self {
            mut holds,
            payments,
        } = self;
        audit.orders.reservations_without_order = to_i64(holds.len());
        holds.truncate(MAX_HOLDS);
        audit.holds_without_order = holds;
        let mut examples: Vec<_> = payments.iter().map(Uuid::to_string).collect();
        examples.sort_unstable();
        examples.truncate(MAX_EXAMPLES);
        let invariant = audit
            .invariants
            .iter_mut()
            .find(|invariant| invariant.name == PAYMENT_HAS_ORDER);
        if let Some(invariant) = invariant {
            invariant.violations = to_i64(payments.len());
            invariant.examples = examples;
        }
        audit.clean = is_clean(&audit.invariants);
    }
}
