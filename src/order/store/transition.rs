//! Changes the state of orders: a compare-and-set on the epoch, which also writes the event.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use uuid::Uuid;

use super::duration::milliseconds;
use crate::api::FailureReason;
use crate::domain::saga::SagaState;
use crate::order::schema::orders;
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{DatabaseError, run_and_roll_back};

/// A change of an order by the attempt that holds the order's epoch.
#[derive(Debug)]
pub struct Transition {
    pub id: Uuid,
    /// The state after the change. Its epoch is the attempt's.
    pub state: SagaState,
    pub reason: &'static str,
    pub trace_id: Option<String>,
    /// Set with the last change of an attempt: the change also releases the lease, and the next
    /// attempt follows after this time.
    pub retry_after: Option<Duration>,
}

struct Change;

impl BatchStatement for Change {
    const COLUMNS: &'static str = "id, epoch, status, failure_reason, release_owed_epoch, \
                                   refund_owed, reason, trace_id, retry_after_ms";
    const TEXT: &'static str = ",
        changed AS (
            UPDATE orders o SET
                status = i.status,
                failure_reason = COALESCE(o.failure_reason, i.failure_reason),
                release_owed_epoch = i.release_owed_epoch,
                refund_owed = i.refund_owed,
                updated_at = now(),
                -- Null for a pending order: it can reserve and release again before it ends.
                owed_since = CASE WHEN i.status IN ('CONFIRMED', 'FAILED')
                        AND (i.release_owed_epoch IS NOT NULL OR i.refund_owed)
                    THEN COALESCE(o.owed_since, now()) END,
                attempts = CASE WHEN o.status = i.status THEN o.attempts ELSE 0 END,
                lease_until = CASE WHEN i.retry_after_ms IS NULL THEN o.lease_until END,
                next_attempt_at = COALESCE(
                    now() + i.retry_after_ms * interval '1 millisecond', o.next_attempt_at),
                -- The attempt at epoch 1 is the request that placed the order.
                response_status = CASE WHEN o.epoch = 1 THEN i.status ELSE o.response_status END
            FROM input i
            WHERE o.id = i.id AND o.epoch = i.epoch AND o.id = ANY ($1)
                -- The epoch alone does not protect a final status: after a failover that loses
                -- commits, a takeover can get an epoch that was used before.
                AND (o.status NOT IN ('CONFIRMED', 'FAILED') OR o.status = i.status)
            RETURNING o.id, o.status, o.epoch, o.updated_at, i.reason, i.trace_id),
        event AS (
            INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
            SELECT id, status, reason, epoch, trace_id FROM changed)
        SELECT id, epoch, updated_at FROM changed";
    type Returns = (SqlUuid, Integer, Timestamptz);
}

/// Transitions in batches.
pub const TRANSITION: BatchSpec<Transition, Option<DateTime<Utc>>> = BatchSpec {
    name: "change",
    statement: Change::TEXT,
    execute: |connection, changes| transition(connection, changes).boxed(),
    find_locked: Some(|connection, changes| find_locked(connection, changes).boxed()),
    min_time: Duration::ZERO,
};

/// Whether another session has locked the order of each change.
async fn find_locked(
    connection: &mut AsyncPgConnection,
    changes: &[Transition],
) -> Result<Vec<bool>, DatabaseError> {
    let ids: Vec<_> = changes.iter().map(|change| change.id).collect();
    let rows = || {
        orders::table
            .filter(orders::id.eq_any(&ids))
            .select(orders::id)
    };
    let free = run_and_roll_back(connection, async |connection| {
        let rows = rows().order(orders::id).for_update().skip_locked();
        Ok(rows.load::<Uuid>(connection).await?)
    });
    let free: HashSet<_> = free.await?.into_iter().collect();
    let all: HashSet<Uuid> = rows().load(connection).await?.into_iter().collect();
    let is_locked = |id: &Uuid| all.contains(id) && !free.contains(id);
    Ok(ids.iter().map(is_locked).collect())
}

/// Stores the changes, all in one statement, and returns for each when it was made. A change is
/// not made, and `None` is returned for it, when the order has another epoch by now, or when the
/// change would leave a final status.
///
/// No two changes may be of the same order and epoch. A batch has no such two: one attempt holds
/// an epoch, and waits for each of its changes.
///
/// # Errors
/// Those of the database. Nothing was changed, unless [`DatabaseError::is_outcome_unknown`].
async fn transition(
    connection: &mut AsyncPgConnection,
    changes: &[Transition],
) -> Result<Vec<Option<DateTime<Utc>>>, DatabaseError> {
    let ids = changes.iter().map(|change| change.id);
    let states = || changes.iter().map(|change| change.state);
    let reasons = changes.iter().map(|change| change.reason);
    let trace_ids = changes.iter().map(|change| change.trace_id.as_deref());
    let retries = changes
        .iter()
        .map(|change| change.retry_after.map(milliseconds));
    let failure_reason = |state: SagaState| state.failure_reason.map(FailureReason::as_str);
    let made: Vec<(Uuid, i32, DateTime<Utc>)> = UnnestQuery::<Change, _>::new((
        array::<SqlUuid, _>(ids.collect()),
        array::<Integer, _>(states().map(|state| state.epoch).collect()),
        array::<Varchar, _>(states().map(|state| state.status.as_str()).collect()),
        array::<Nullable<Varchar>, _>(states().map(failure_reason).collect()),
        array::<Nullable<Integer>, _>(states().map(|state| state.release_owed_epoch).collect()),
        array::<Bool, _>(states().map(|state| state.refund_owed).collect()),
        array::<Varchar, _>(reasons.collect()),
        array::<Nullable<Varchar>, _>(trace_ids.collect()),
        array::<Nullable<Integer>, _>(retries.collect()),
    ))
    .load(connection)
    .await?;
    let made: HashMap<_, _> = made
        .into_iter()
        .map(|(id, epoch, at)| ((id, epoch), at))
        .collect();
    let made_at = |change: &Transition| made.get(&(change.id, change.state.epoch)).copied();
    Ok(changes.iter().map(made_at).collect())
}
