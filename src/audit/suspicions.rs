//! Orders that seem to violate an invariant where the services' databases were read one after
//! another.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::error::AuditError;
use super::invariants::{AGREEMENT, InvariantQuery};
use super::reader;
use super::report::{Audit, HoldWithoutOrder, MAX_EXAMPLES, MAX_HOLDS, is_clean, to_i64};
use super::session::TimeLimit;

/// An order, and its epoch when it was read; `None` if it did not exist or was leaving.
#[derive(QueryableByName)]
pub struct OrderEpoch {
    /// `None` where a row without an order's id violates an invariant.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub order_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub epoch: Option<i32>,
}

/// The epochs of orders.
pub type Epochs = HashMap<Uuid, Option<i32>>;

/// A row that violates an invariant of [`AGREEMENT`].
struct Violation {
    /// The name of the invariant.
    invariant: &'static str,
    order: OrderEpoch,
}

/// Violations and holds that may be there only because an order changed between the snapshots.
#[derive(Default)]
pub struct Suspicions {
    violations: Vec<Violation>,
    holds_without_order: Vec<HoldWithoutOrder>,
}

impl Suspicions {
    /// Reads the findings of an audit, in the audit's transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(
        audit: &Audit,
        connection: &mut AsyncPgConnection,
        limit: TimeLimit,
    ) -> Result<Self, AuditError> {
        let violated: HashSet<_> = audit
            .invariants
            .iter()
            .filter(|invariant| invariant.violations > 0)
            .map(|invariant| invariant.name.as_str())
            .collect();
        let queries: Vec<_> = AGREEMENT
            .iter()
            .filter(|query| violated.contains(query.name))
            .collect();
        Self::read(queries, connection, limit).await
    }

    /// Reads the violations of these invariants, and the holds without an order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(
        queries: Vec<&InvariantQuery>,
        connection: &mut AsyncPgConnection,
        limit: TimeLimit,
    ) -> Result<Self, AuditError> {
        let mut violations = Vec::new();
        for query in queries {
            limit.apply(connection).await?;
            let statement = diesel::sql_query(query.violating_orders());
            let orders: Vec<OrderEpoch> = statement.load(connection).await?;
            violations.extend(orders.into_iter().map(|order| Violation {
                invariant: query.name,
                order,
            }));
        }
        limit.apply(connection).await?;
        Ok(Self {
            violations,
            holds_without_order: reader::holds_without_order(connection, None).await?,
        })
    }

    /// The orders, each once.
    pub fn orders(&self) -> HashSet<Uuid> {
        let held = self.holds_without_order.iter().map(|hold| hold.order_id);
        let violating = self.violations.iter();
        held.chain(violating.filter_map(|violation| violation.order.order_id))
            .collect()
    }

    /// Returns the findings about orders that still have the epoch with which they were read, and
    /// the ids of the orders that have changed. `epochs` are the present ones.
    pub fn without_changed(mut self, epochs: &Epochs) -> (Self, HashSet<Uuid>) {
        let mut changed = HashSet::new();
        let mut is_unchanged = |order: &OrderEpoch| {
            let Some(id) = order.order_id else {
                return true;
            };
            let unchanged = epochs.get(&id).copied().flatten() == order.epoch;
            if !unchanged {
                changed.insert(id);
            }
            unchanged
        };
        self.violations
            .retain(|violation| is_unchanged(&violation.order));
        self.holds_without_order.retain(|hold| {
            is_unchanged(&OrderEpoch {
                order_id: Some(hold.order_id),
                epoch: None,
            })
        });
        (self, changed)
    }

    /// Adds the findings about other orders.
    pub fn extend(&mut self, other: Self) {
        self.violations.extend(other.violations);
        self.holds_without_order.extend(other.holds_without_order);
    }

    /// Replaces the corresponding findings of the audit by these.
    pub fn correct(mut self, audit: &mut Audit) {
        for query in AGREEMENT {
            let invariant = audit
                .invariants
                .iter_mut()
                .find(|invariant| invariant.name == query.name);
            let Some(invariant) = invariant else { continue };
            let violations = self.violations.iter();
            let mut examples: Vec<_> = violations
                .filter(|violation| violation.invariant == query.name)
                .map(|violation| match violation.order.order_id {
                    Some(id) => id.to_string(),
                    None => "NULL".to_owned(),
                })
                .collect();
            invariant.violations = to_i64(examples.len());
            examples.sort_unstable();
            examples.truncate(MAX_EXAMPLES);
            invariant.examples = examples;
        }
        audit.orders.reservations_without_order = to_i64(self.holds_without_order.len());
        self.holds_without_order
            .sort_unstable_by_key(|hold| hold.order_id);
        self.holds_without_order.truncate(MAX_HOLDS);
        audit.holds_without_order = self.holds_without_order;
        audit.clean = is_clean(&audit.invariants);
    }
}
