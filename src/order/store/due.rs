//! What recovery does with many orders: claims those that are due, wakes those that wait, counts what is left, forgets old keys.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{COLUMNS, OrderRow, UNSETTLED, milliseconds};
use crate::platform::database::DatabaseError;

/// An attempt ends without a change: as [`Transition::rest`], unless it was overtaken.
///
/// # Errors
/// Those of the database.
pub async fn give_up(
    connection: &mut AsyncPgConnection,
    order: &OrderRow,
    rest: Duration,
) -> Result<(), DatabaseError> {
    let statement =
        "UPDATE orders SET lease_until = NULL, next_attempt_at = now() + $3 * interval '1 millisecond'
                     WHERE id = $1 AND epoch = $2";
    diesel::sql_query(statement)
        .bind::<SqlUuid, _>(order.id)
        .bind::<Integer, _>(order.epoch)
        .bind::<Integer, _>(milliseconds(rest))
        .execute(connection)
        .await?;
    Ok(())
}

/// An order that a worker has taken over.
#[derive(Debug, QueryableByName)]
pub struct Claimed {
    #[diesel(embed)]
    pub order: OrderRow,
    /// Older than the recovery bound.
    #[diesel(sql_type = Bool)]
    pub expired: bool,
}

/// Which orders to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Those that are due.
    Due,
    /// Whichever comes next, due or not: to see whether a dependency is back.
    Probe,
}

/// Takes over orders that are unsettled and in nobody's hands: each gets a higher epoch and a new lease. The locks
/// are gone when the statement is; only the database's clock is used.
///
/// # Errors
/// Those of the database.
pub async fn claim(
    connection: &mut AsyncPgConnection,
    claim: Claim,
    limit: i32,
    lease: Duration,
    bound: Duration,
) -> Result<Vec<Claimed>, DatabaseError> {
    let due = match claim {
        Claim::Due => "AND next_attempt_at <= now()",
        Claim::Probe => "",
    };
    // By `= ANY`, as in platform/given.rs: a join might be planned for any number of orders.
    let statement = format!(
        "UPDATE orders SET epoch = epoch + 1, attempts = attempts + 1,
             lease_until = now() + $2 * interval '1 millisecond'
         WHERE id = ANY (ARRAY (
             SELECT id FROM orders
             WHERE {UNSETTLED} {due} AND (lease_until IS NULL OR lease_until <= now())
             ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED))
         RETURNING {COLUMNS}, created_at < now() - $3 * interval '1 millisecond' AS expired"
    );
    let claimed = diesel::sql_query(statement)
        .bind::<Integer, _>(limit)
        .bind::<Integer, _>(milliseconds(lease))
        .bind::<Integer, _>(milliseconds(bound))
        .load(connection)
        .await?;
    Ok(claimed)
}

/// Makes what waits due at once. What is beyond the limit comes due by itself soon.
///
/// # Errors
/// Those of the database.
pub async fn wake(connection: &mut AsyncPgConnection, limit: i32) -> Result<usize, DatabaseError> {
    let statement = format!(
        "UPDATE orders SET next_attempt_at = now()
         WHERE id = ANY (ARRAY (
             SELECT id FROM orders
             WHERE {UNSETTLED} AND next_attempt_at > now() AND (lease_until IS NULL OR lease_until <= now())
             ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
    );
    Ok(diesel::sql_query(statement).bind::<Integer, _>(limit).execute(connection).await?)
}

/// How much is unsettled.
#[derive(Debug, QueryableByName)]
pub struct Backlog {
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    /// Age of the oldest; 0 without one.
    #[diesel(sql_type = Double)]
    pub oldest_seconds: f64,
}

/// # Errors
/// Those of the database.
pub async fn backlog(connection: &mut AsyncPgConnection) -> Result<Backlog, DatabaseError> {
    let statement = format!(
        "SELECT count(*) AS orders,
             COALESCE(EXTRACT(EPOCH FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
         FROM orders WHERE {UNSETTLED}"
    );
    Ok(diesel::sql_query(statement).get_result(connection).await?)
}

/// Forgets old keys, so many at a time; returns how many.
///
/// # Errors
/// Those of the database.
pub async fn forget_keys(
    connection: &mut AsyncPgConnection,
    older_than: Duration,
    limit: i32,
) -> Result<usize, DatabaseError> {
    let statement = "UPDATE orders SET idempotency_key = NULL
         WHERE id = ANY (ARRAY (
             SELECT id FROM orders
             WHERE idempotency_key IS NOT NULL AND created_at < now() - $1 * interval '1 second'
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))";
    let seconds = i32::try_from(older_than.as_secs()).unwrap_or(i32::MAX);
    Ok(diesel::sql_query(statement)
        .bind::<Integer, _>(seconds)
        .bind::<Integer, _>(limit)
        .execute(connection)
        .await?)
}
