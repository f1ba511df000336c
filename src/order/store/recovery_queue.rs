//! The orders that recovery works on: claims those that are due, makes waiting ones due, counts
//! them, and removes old idempotency keys.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Bool, Double, Integer, Jsonb, Nullable, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::duration::milliseconds;
use super::order_row::OrderRow;
use crate::api::Obligation;
use crate::platform::db::DatabaseError;

/// Ends an attempt that has no transition to store: releases its lease, and lets the next attempt
/// follow after `retry_after`. `last_failure` is its last call that failed. Returns when the next
/// attempt is due; `None` if a later attempt has taken the order over, and nothing was changed.
///
/// # Errors
/// Those of the database.
pub async fn release_lease(
    connection: &mut AsyncPgConnection,
    order: &OrderRow,
    retry_after: Duration,
    last_failure: Option<&Value>,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let statement = "
        UPDATE orders
        SET lease_until = NULL, next_attempt_at = now() + $3 * interval '1 millisecond',
            last_failure = $4
        WHERE id = $1 AND epoch = $2
        RETURNING next_attempt_at";
    let released = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(order.id)
        .bind::<Integer, _>(order.epoch)
        .bind::<Integer, _>(milliseconds(retry_after))
        .bind::<Nullable<Jsonb>, _>(last_failure);
    let due: Option<Due> = released.get_result(connection).await.optional()?;
    Ok(due.map(|due| due.next_attempt_at))
}

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = Timestamptz)]
    next_attempt_at: DateTime<Utc>,
}

/// An order that a recovery worker has taken over.
#[derive(Debug, QueryableByName)]
pub struct Claimed {
    #[diesel(embed)]
    pub order: OrderRow,
    /// The order is older than the recovery bound.
    #[diesel(sql_type = Bool)]
    pub expired: bool,
}

/// Orders whose next attempt depends on the same routes. Recovery works on each queue separately,
/// so that attempts that fail in one queue do not delay the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Orders that are neither confirmed nor failed.
    Pending,
    /// Orders that have ended and owe a release.
    Releases,
    /// Orders that have ended and owe a refund. They may be in the queue of releases too: each
    /// obligation is met without waiting for the other.
    Refunds,
    /// Orders that owe a shipment.
    Shipments,
}

impl Queue {
    pub const ALL: [Self; 4] = [
        Self::Pending,
        Self::Releases,
        Self::Refunds,
        Self::Shipments,
    ];

    /// The condition of the queue's orders in `unsettled_orders`.
    fn condition(self) -> &'static str {
        match self {
            Self::Pending => "is_pending",
            Self::Releases => "is_owing AND release_owed_epoch IS NOT NULL",
            Self::Refunds => "is_owing AND refund_owed",
            Self::Shipments => "is_owing AND shipment_owed",
        }
    }
}

/// Which orders of a queue to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Orders that are due.
    Due,
    /// The orders that are due next, whether they are due or not: an attempt shows whether a
    /// dependency has recovered.
    Probe,
    /// Orders that are older than the recovery bound. They fail without a call to a dependency.
    Expired,
}

/// Takes over orders of a queue that have no live lease: raises the epoch of each and gives it a
/// new lease. Rows that another session has locked are skipped, and the statement holds its own
/// locks only until it ends. All times are those of the database's clock.
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
    let in_queue = queue.condition();
    let chosen = match claim {
        Claim::Due => "AND next_attempt_at <= now()",
        Claim::Probe => "",
        Claim::Expired => "AND created_at < now() - $3 * interval '1 millisecond'",
    };
    // `= ANY` and not a join, which the planner might plan for any number of orders
    // (src/platform/db/unnest_query.rs).
    let statement = take_over(&format!(
        "id = ANY (ARRAY (
             SELECT id FROM unsettled_orders
             WHERE {in_queue} {chosen} AND (lease_until IS NULL OR lease_until <= now())
             ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
    ));
    let claimed = diesel::sql_query(statement)
        .bind::<Integer, _>(limit)
        .bind::<Integer, _>(milliseconds(lease))
        .bind::<Integer, _>(milliseconds(bound))
        .load(connection)
        .await?;
    Ok(claimed)
}

/// Takes one order over, whether it is due or not. Returns `None` if it is settled, if an attempt
/// holds its lease, or if it does not exist.
///
/// # Errors
/// Those of the database.
pub async fn claim_one(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    lease: Duration,
    bound: Duration,
) -> Result<Option<Claimed>, DatabaseError> {
    let statement = take_over(
        "id = $1 AND (lease_until IS NULL OR lease_until <= now())
         AND EXISTS (SELECT FROM unsettled_orders u WHERE u.id = orders.id)",
    );
    let claimed: Vec<Claimed> = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(id)
        .bind::<Integer, _>(milliseconds(lease))
        .bind::<Integer, _>(milliseconds(bound))
        .load(connection)
        .await?;
    Ok(claimed.into_iter().next())
}

/// The statement that takes over the orders that meet the condition. `$2` is the lease and `$3`
/// the recovery bound, in milliseconds.
fn take_over(condition: &str) -> String {
    format!(
        "UPDATE orders SET epoch = epoch + 1, takeovers = takeovers + 1,
             lease_until = now() + $2 * interval '1 millisecond'
         WHERE {condition}
         RETURNING {}, created_at < now() - $3 * interval '1 millisecond' AS expired",
        OrderRow::COLUMNS
    )
}

/// Makes waiting orders due now: at most `limit` pending orders, and as many that owe something.
/// The others become due by themselves. Returns how many orders it made due.
///
/// # Errors
/// Those of the database.
pub async fn wake(connection: &mut AsyncPgConnection, limit: i32) -> Result<usize, DatabaseError> {
    let mut woken = 0;
    for condition in ["is_pending", "is_owing"] {
        let statement = format!(
            "UPDATE orders SET next_attempt_at = now()
             WHERE id = ANY (ARRAY (
                 SELECT id FROM unsettled_orders
                 WHERE {condition} AND next_attempt_at > now()
                     AND (lease_until IS NULL OR lease_until <= now())
                 ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
        );
        woken += diesel::sql_query(statement)
            .bind::<Integer, _>(limit)
            .execute(connection)
            .await?;
    }
    Ok(woken)
}

/// How much work recovery has left.
#[derive(Debug, QueryableByName)]
pub struct Backlog {
    /// Unsettled orders.
    #[diesel(sql_type = BigInt)]
    pub unsettled: i64,
    /// The age of the oldest pending order in seconds; 0 without one.
    #[diesel(sql_type = Double)]
    pub oldest_pending_seconds: f64,
    #[diesel(embed)]
    pub stuck: StuckOrders,
}

/// Orders that have ended and have owed something for longer than the recovery bound, by what they
/// owe. An order can owe two things.
#[derive(Debug, QueryableByName)]
pub struct StuckOrders {
    #[diesel(sql_type = BigInt)]
    releases: i64,
    #[diesel(sql_type = BigInt)]
    refunds: i64,
    #[diesel(sql_type = BigInt)]
    shipments: i64,
}

impl StuckOrders {
    /// The number of orders for each obligation.
    #[must_use]
    pub const fn by_obligation(&self) -> [(Obligation, i64); 3] {
        [
            (Obligation::Release, self.releases),
            (Obligation::Refund, self.refunds),
            (Obligation::Shipment, self.shipments),
        ]
    }
}

/// # Errors
/// Those of the database.
pub async fn backlog(
    connection: &mut AsyncPgConnection,
    bound: Duration,
) -> Result<Backlog, DatabaseError> {
    // One query for each partial index.
    let statement = "
        SELECT pending.orders + owing.orders AS unsettled, oldest_pending_seconds,
               releases, refunds, shipments
        FROM (SELECT count(*) AS orders,
                     COALESCE(EXTRACT(EPOCH FROM now() - min(created_at)), 0)::float8
                         AS oldest_pending_seconds
              FROM unsettled_orders WHERE is_pending) pending,
             (SELECT count(*) AS orders,
                     count(*) FILTER (WHERE is_stuck AND release_owed_epoch IS NOT NULL)
                         AS releases,
                     count(*) FILTER (WHERE is_stuck AND refund_owed) AS refunds,
                     count(*) FILTER (WHERE is_stuck AND shipment_owed) AS shipments
              FROM (SELECT *, COALESCE(owed_since, updated_at)
                           < now() - $1 * interval '1 millisecond' AS is_stuck
                    FROM unsettled_orders WHERE is_owing) AS owing_orders) owing";
    Ok(diesel::sql_query(statement)
        .bind::<Integer, _>(milliseconds(bound))
        .get_result(connection)
        .await?)
}

/// Removes the idempotency keys of settled orders that are older than `older_than`, at most
/// `limit`; returns how many. An unsettled order keeps its key, because its client may still ask
/// how the order ends.
///
/// # Errors
/// Those of the database.
pub async fn forget_keys(
    connection: &mut AsyncPgConnection,
    older_than: Duration,
    limit: i32,
) -> Result<usize, DatabaseError> {
    let statement = "
        UPDATE orders SET idempotency_key = NULL
        WHERE id = ANY (ARRAY (
            SELECT id FROM orders
            WHERE idempotency_key IS NOT NULL AND created_at < now() - $1 * interval '1 second'
                AND status IN ('CONFIRMED', 'FAILED')
                AND release_owed_epoch IS NULL AND NOT refund_owed AND NOT shipment_owed
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))";
    let seconds = i32::try_from(older_than.as_secs()).unwrap_or(i32::MAX);
    Ok(diesel::sql_query(statement)
        .bind::<Integer, _>(seconds)
        .bind::<Integer, _>(limit)
        .execute(connection)
        .await?)
}
