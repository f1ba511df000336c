//! Stores transitions of orders: a compare-and-set on the epoch, which also writes the event.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Jsonb, Nullable, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use serde_json::Value;
use uuid::Uuid;

use super::duration::milliseconds;
use crate::api::FailureReason;
use crate::domain::saga::{ChangeReason, SagaState};
use crate::order::schema::orders;
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{DatabaseError, run_and_roll_back};

/// A transition of an order by the attempt that holds the order's epoch.
#[derive(Debug)]
pub struct OrderTransition {
    pub id: Uuid,
    /// The state after the transition. Its epoch is the attempt's.
    pub state: SagaState,
    pub reason: ChangeReason,
    pub trace_id: Option<String>,
    /// Set with the last transition of an attempt, which also releases the lease: the next attempt
    /// follows after this time.
    pub retry_after: Option<Duration>,
    /// The calls since the attempt's previous transition.
    pub steps: Vec<Value>,
    /// The last call of the attempt that failed.
    pub last_failure: Option<Value>,
}

struct ApplyTransitions;

impl BatchStatement for ApplyTransitions {
    const COLUMNS: &'static str = "id, epoch, status, failure_reason, release_owed_epoch, \
                                   refund_owed, shipment_owed, fulfilled, reason, \
                                   trace_id, retry_after_ms, steps, last_failure";
    const TEXT: &'static str = ",
        changed AS (
            UPDATE orders o SET
                status = i.status,
                failure_reason = COALESCE(o.failure_reason, i.failure_reason),
                release_owed_epoch = i.release_owed_epoch,
                refund_owed = i.refund_owed,
                shipment_owed = i.shipment_owed,
                fulfilled_at = CASE WHEN i.fulfilled THEN COALESCE(o.fulfilled_at, now()) END,
                updated_at = now(),
                -- Null for a pending order: it can reserve and release again before it ends.
                owed_since = CASE WHEN i.status IN ('CONFIRMED', 'FAILED')
                        AND (i.release_owed_epoch IS NOT NULL OR i.refund_owed
                            OR i.shipment_owed)
                    THEN COALESCE(o.owed_since, now()) END,
                last_failure = i.last_failure,
                takeovers = CASE WHEN o.status = i.status THEN o.takeovers ELSE 0 END,
                lease_until = CASE WHEN i.retry_after_ms IS NULL THEN o.lease_until END,
                next_attempt_at = COALESCE(
                    now() + i.retry_after_ms * interval '1 millisecond', o.next_attempt_at),
                -- The attempt at epoch 1 is the request that placed the order.
                response_status = CASE WHEN o.epoch = 1 THEN i.status ELSE o.response_status END,
                response_at = CASE WHEN o.epoch = 1 THEN now() ELSE o.response_at END
            FROM input i
            WHERE o.id = i.id AND o.epoch = i.epoch AND o.id = ANY ($1)
                -- The epoch alone does not protect a final status: after a failover that loses
                -- commits, a takeover can get an epoch that was used before. For the same reason, a
                -- shipment stays owed until the goods have left, and is never undone.
                AND (o.status NOT IN ('CONFIRMED', 'FAILED') OR o.status = i.status)
                AND (o.fulfilled_at IS NULL OR i.fulfilled)
                AND (NOT o.shipment_owed OR i.shipment_owed OR i.fulfilled)
            RETURNING o.id, o.status, o.epoch, o.updated_at, i.reason, i.trace_id, i.steps),
        event AS (
            INSERT INTO order_events (order_id, status, reason, epoch, trace_id, steps)
            SELECT id, status, reason, epoch, trace_id, steps FROM changed)
        SELECT id, epoch, updated_at FROM changed";
    type Returns = (SqlUuid, Integer, Timestamptz);
}

/// Transitions in batches.
pub const TRANSITION: BatchSpec<OrderTransition, Option<DateTime<Utc>>> = BatchSpec {
    name: "transition",
    statement: ApplyTransitions::TEXT,
    execute: |connection, transitions| transition(connection, transitions).boxed(),
    find_locked: Some(|connection, transitions| find_locked(connection, transitions).boxed()),
    min_time: Duration::ZERO,
};

/// Whether another session has locked the order of each transition.
async fn find_locked(
    connection: &mut AsyncPgConnection,
    transitions: &[OrderTransition],
) -> Result<Vec<bool>, DatabaseError> {
    let ids: Vec<_> = transitions.iter().map(|transition| transition.id).collect();
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

/// Stores the transitions, all in one statement, and returns for each when it was made. A
/// transition is not made, and `None` is returned for it, when the order has another epoch by now,
/// or when the transition would leave a final status.
///
/// No two transitions may be of the same order and epoch. A batch has no such two: one attempt
/// holds an epoch, and waits for each of its transitions.
///
/// # Errors
/// Those of the database. Nothing was changed, unless [`DatabaseError::is_outcome_unknown`].
async fn transition(
    connection: &mut AsyncPgConnection,
    transitions: &[OrderTransition],
) -> Result<Vec<Option<DateTime<Utc>>>, DatabaseError> {
    let ids = transitions.iter().map(|transition| transition.id);
    let states = || transitions.iter().map(|transition| transition.state);
    let reasons = transitions
        .iter()
        .map(|transition| transition.reason.as_str());
    let trace_ids = transitions
        .iter()
        .map(|transition| transition.trace_id.as_deref());
    let retries = transitions
        .iter()
        .map(|transition| transition.retry_after.map(milliseconds));
    let steps = transitions
        .iter()
        .map(|transition| Value::Array(transition.steps.clone()));
    let last_failures = transitions
        .iter()
        .map(|transition| transition.last_failure.clone());
    let failure_reason = |state: SagaState| state.failure_reason.map(FailureReason::as_str);
    let made: Vec<(Uuid, i32, DateTime<Utc>)> = UnnestQuery::<ApplyTransitions, _>::new((
        array::<SqlUuid, _>(ids.collect()),
        array::<Integer, _>(states().map(|state| state.epoch).collect()),
        array::<Varchar, _>(states().map(|state| state.status.as_str()).collect()),
        array::<Nullable<Varchar>, _>(states().map(failure_reason).collect()),
        array::<Nullable<Integer>, _>(states().map(|state| state.release_owed_epoch).collect()),
        array::<Bool, _>(states().map(|state| state.refund_owed).collect()),
        array::<Bool, _>(states().map(|state| state.shipment_owed).collect()),
        array::<Bool, _>(states().map(|state| state.fulfilled).collect()),
        array::<Varchar, _>(reasons.collect()),
        array::<Nullable<Varchar>, _>(trace_ids.collect()),
        array::<Nullable<Integer>, _>(retries.collect()),
        array::<Jsonb, _>(steps.collect()),
        array::<Nullable<Jsonb>, _>(last_failures.collect()),
    ))
    .load(connection)
    .await?;
    let made: HashMap<_, _> = made
        .into_iter()
        .map(|(id, epoch, at)| ((id, epoch), at))
        .collect();
    let made_at =
        |transition: &OrderTransition| made.get(&(transition.id, transition.state.epoch)).copied();
    Ok(transitions.iter().map(made_at).collect())
}
