//! Reads an audit within one transaction, so that all rules see one snapshot.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::invariants::RULES;
use super::{
    Audit, AuditError, BOUND_MARGIN, HoldWithoutOrder, Invariant, MAX_HOLDS, Orders, Product,
    is_clean,
};
use crate::platform::db::DatabaseError;

/// For one table that something else has locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// For one statement where the audit as a whole has no limit.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Violations that an invariant names.
pub const MAX_EXAMPLES: usize = 5;

/// How long an audit may take.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    EachStatement,
    Until(tokio::time::Instant),
}

impl Limit {
    /// Lets the server end the transaction's next statement by itself: an audit that was given up
    /// must not go on there.
    pub async fn set(self, connection: &mut AsyncPgConnection) -> Result<(), AuditError> {
        let timeout = match self {
            Self::EachStatement => STATEMENT_TIMEOUT,
            Self::Until(deadline) => {
                deadline.saturating_duration_since(tokio::time::Instant::now())
            }
        };
        // 0 would be no limit.
        let milliseconds = timeout.as_millis().max(1);
        Ok(connection
            .batch_execute(&format!("SET LOCAL statement_timeout = {milliseconds}"))
            .await?)
    }
}

/// Locks tables against being rewritten or emptied, which a snapshot does not protect from. It is
/// taken before the snapshot, so that this is no older than the wait for the locks.
pub async fn lock(
    connection: &mut AsyncPgConnection,
    tables: &[&str],
    limit: Limit,
) -> Result<(), AuditError> {
    limit.set(connection).await?;
    let timeout = LOCK_TIMEOUT.as_millis();
    let settings = format!("SET LOCAL jit = off; SET LOCAL lock_timeout = {timeout}");
    connection.batch_execute(&settings).await?;
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
    let locked = connection
        .batch_execute(&lock)
        .await
        .map_err(DatabaseError::from);
    locked.map_err(|error| {
        if error.is_refusal() {
            AuditError::NotLocked(error)
        } else {
            error.into()
        }
    })
}

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = BigInt)]
    checked: i64,
    #[diesel(sql_type = BigInt)]
    violations: i64,
    #[diesel(sql_type = Array<Text>)]
    examples: Vec<String>,
}

/// Applies all rules. `at` is when the snapshot was taken.
pub async fn read(
    connection: &mut AsyncPgConnection,
    bound: Duration,
    at: DateTime<Utc>,
    limit: Limit,
) -> Result<Audit, AuditError> {
    let bound = (bound + BOUND_MARGIN).as_secs();
    let mut invariants = Vec::new();
    for rule in RULES {
        limit.set(connection).await?;
        let statement = diesel::sql_query(rule.statement(bound, MAX_EXAMPLES));
        let Finding {
            checked,
            violations,
            examples,
        } = statement.get_result(connection).await?;
        let (name, meaning) = (rule.name.to_owned(), rule.meaning.to_owned());
        invariants.push(Invariant {
            name,
            meaning,
            checked,
            violations,
            examples,
        });
    }
    let clean = is_clean(&invariants);
    limit.set(connection).await?;
    let products = products(connection).await?;
    let orders = orders(connection).await?;
    let holds_without_order = holds_without_order(connection, Some(MAX_HOLDS)).await?;
    Ok(Audit {
        at,
        clean,
        invariants,
        products,
        orders,
        holds_without_order,
    })
}

async fn products(connection: &mut AsyncPgConnection) -> Result<Vec<Product>, DatabaseError> {
    let statement = "
        SELECT product_id::text, COALESCE(stocked, 0)::bigint AS stocked, COALESCE(stock, 0)::bigint AS available,
               COALESCE(reserved, 0)::bigint AS reserved, COALESCE(held, 0)::bigint AS held
        FROM inventory LEFT JOIN (SELECT product_id, sum(quantity) AS held FROM reservations
                                  WHERE state = 'HELD' GROUP BY product_id) r USING (product_id)
        ORDER BY product_id LIMIT 100";
    Ok(diesel::sql_query(statement).load(connection).await?)
}

async fn orders(connection: &mut AsyncPgConnection) -> Result<Orders, DatabaseError> {
    let statement = "
        SELECT count(*) AS total,
               count(*) FILTER (WHERE status = 'CONFIRMED') AS confirmed,
               count(*) FILTER (WHERE status = 'FAILED') AS failed,
               count(*) FILTER (WHERE status NOT IN ('CONFIRMED', 'FAILED')
                                OR release_due IS NOT NULL OR void_due) AS unsettled,
               (SELECT count(*) FROM reservations r WHERE state = 'HELD'
                  AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id)) AS reservations_without_order
        FROM orders";
    Ok(diesel::sql_query(statement).get_result(connection).await?)
}

/// Held reservations whose order is not in the snapshot, the oldest ids first; all without a limit.
pub async fn holds_without_order(
    connection: &mut AsyncPgConnection,
    limit: Option<usize>,
) -> Result<Vec<HoldWithoutOrder>, DatabaseError> {
    let limit = limit.map_or_else(String::new, |limit| format!("LIMIT {limit}"));
    let statement = format!(
        "SELECT order_id, COALESCE(product_id, '')::text AS product_id, COALESCE(quantity, 0)::bigint AS quantity
         FROM reservations r WHERE state = 'HELD' AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id)
         ORDER BY order_id {limit}"
    );
    Ok(diesel::sql_query(statement).load(connection).await?)
}
