//! What recovery does with many orders: claims those that are due, wakes those that wait, counts
//! what is left, forgets old idempotency keys.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{COLUMNS, OWING, OrderRow, UNFINISHED, milliseconds};
use crate::platform::db::DatabaseError;

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

/// Orders that wait for the same thing. Each queue is worked off by itself, so that what cannot
/// succeed in one does not hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// They are neither confirmed nor failed.
    Unfinished,
    /// They have ended, and owe a release.
    Releases,
    /// They have ended, and owe a refund alone.
    Refunds,
}

impl Queue {
    pub const ALL: [Self; 3] = [Self::Unfinished, Self::Releases, Self::Refunds];

    fn condition(self) -> String {
        match self {
            Self::Unfinished => UNFINISHED.to_owned(),
            Self::Releases => format!("{OWING} AND release_due IS NOT NULL"),
            Self::Refunds => format!("{OWING} AND release_due IS NULL"),
        }
    }
}

/// Which orders of a queue to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Those that are due.
    Due,
    /// Whichever comes next, due or not: to see whether a dependency is back.
    Probe,
    /// Those that are older than the recovery bound: they can be failed whatever the dependencies
    /// do.
    Expired,
}

/// Takes over orders of a queue that are in nobody's hands: each gets a higher epoch and a new
/// lease. The locks are gone when the statement is; only the database's clock is used.
///
/// # Errors
/// Those of the database.
pub async fn claim(
    connection: &mut AsyncPgConnection,
    queue: Queue,
    claim: Claim,
    limit: i32,
    lease: Duration,
    bound: Duration,
) -> Result<Vec<Claimed>, DatabaseError> {
    let condition = queue.condition();
    let due = match claim {
        Claim::Due => "AND next_attempt_at <= now()",
        Claim::Probe => "",
        Claim::Expired => "AND created_at < now() - $3 * interval '1 millisecond'",
    };
    // By `= ANY`, as in platform/given.rs: a join might be planned for any number of orders.
    let statement = format!(
        "UPDATE orders SET epoch = epoch + 1, attempts = attempts + 1,
             lease_until = now() + $2 * interval '1 millisecond'
         WHERE id = ANY (ARRAY (
             SELECT id FROM orders
             WHERE {condition} {due} AND (lease_until IS NULL OR lease_until <= now())
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

/// Makes what waits due at once, and returns how many orders that were. What is beyond the limit of
/// a queue comes due by itself soon.
///
/// # Errors
/// Those of the database.
pub async fn wake(connection: &mut AsyncPgConnection, limit: i32) -> Result<usize, DatabaseError> {
    let mut woken = 0;
    for condition in [UNFINISHED, OWING] {
        let statement = format!(
            "UPDATE orders SET next_attempt_at = now()
             WHERE id = ANY (ARRAY (
                 SELECT id FROM orders
                 WHERE {condition} AND next_attempt_at > now() AND (lease_until IS NULL OR lease_until <= now())
                 ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
        );
        woken += diesel::sql_query(statement)
            .bind::<Integer, _>(limit)
            .execute(connection)
            .await?;
    }
    Ok(woken)
}

/// How much is left to do.
#[derive(Debug, QueryableByName)]
pub struct Backlog {
    /// Orders that are unfinished, or have ended and owe something.
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    /// Age of the oldest unfinished order; 0 without one.
    #[diesel(sql_type = Double)]
    pub oldest_seconds: f64,
    /// Orders that have owed something for longer than the recovery bound.
    #[diesel(sql_type = BigInt)]
    pub stuck: i64,
}

/// # Errors
/// Those of the database.
pub async fn backlog(
    connection: &mut AsyncPgConnection,
    bound: Duration,
) -> Result<Backlog, DatabaseError> {
    let statement = format!(
        "SELECT unfinished.orders + owing.orders AS orders, oldest_seconds, stuck
         FROM (SELECT count(*) AS orders,
                      COALESCE(EXTRACT(EPOCH FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
               FROM orders WHERE {UNFINISHED}) unfinished,
              (SELECT count(*) AS orders,
                      count(*) FILTER (WHERE COALESCE(owed_since, updated_at)
                          < now() - $1 * interval '1 millisecond') AS stuck
               FROM orders WHERE {OWING}) owing"
    );
    Ok(diesel::sql_query(statement)
        .bind::<Integer, _>(milliseconds(bound))
        .get_result(connection)
        .await?)
}

/// Forgets old keys of settled orders, up to a limit; returns how many. The key of an order that is
/// not settled is kept: a client may still wait to learn how it ends.
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
                 AND status IN ('CONFIRMED', 'FAILED') AND release_due IS NULL AND NOT void_due
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))";
    let seconds = i32::try_from(older_than.as_secs()).unwrap_or(i32::MAX);
    Ok(diesel::sql_query(statement)
        .bind::<Integer, _>(seconds)
        .bind::<Integer, _>(limit)
        .execute(connection)
        .await?)
}
