//! Stores a change that an operator asks for: to cancel an order, or to fulfil it.

use std::time::Duration;

use diesel::sql_types::{Bool, Integer, Nullable, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::duration::milliseconds;
use super::order_row::OrderRow;
use crate::api::FailureReason;
use crate::domain::saga::{ChangeReason, SagaState};
use crate::platform::db::DatabaseError;

/// A change that an operator asks for. It takes the order over.
#[derive(Debug)]
pub struct Intervention {
    /// The state after the change, at a new epoch.
    pub state: SagaState,
    pub reason: ChangeReason,
    pub trace_id: Option<String>,
    /// How long recovery leaves the order to the request.
    pub lease: Duration,
}

/// Stores the change and its event, in one statement. Returns the changed order; `None` when the
/// order is not as it was read: another attempt has taken it over, or its status has changed.
///
/// # Errors
/// Those of the database. Nothing was changed, unless [`DatabaseError::is_outcome_unknown`].
pub async fn intervene(
    connection: &mut AsyncPgConnection,
    order: &OrderRow,
    intervention: &Intervention,
) -> Result<Option<OrderRow>, DatabaseError> {
    let Intervention {
        state,
        reason,
        trace_id,
        lease,
    } = intervention;
    // An epoch and a status can come again after a failover that loses commits. So the statement
    // itself says that goods which have left, or are about to, stay where they are, and that a
    // final status is left only by a cancellation of a confirmed order.
    let statement = format!(
        "WITH changed AS (
             UPDATE orders SET status = $4, failure_reason = $5, epoch = $6,
                 release_owed_epoch = $7, refund_owed = $8, shipment_owed = $9,
                 owed_since = now(), updated_at = now(), takeovers = 0, last_failure = NULL,
                 next_attempt_at = now(),
                 lease_until = now() + $10 * interval '1 millisecond'
             WHERE id = $1 AND epoch = $2 AND status = $3 AND status <> 'FAILED'
                 AND NOT shipment_owed AND fulfilled_at IS NULL
             RETURNING {columns}),
         event AS (
             INSERT INTO order_events (order_id, status, reason, epoch, trace_id)
             SELECT id, status, $11, epoch, $12 FROM changed)
         SELECT {columns} FROM changed",
        columns = OrderRow::COLUMNS
    );
    let changed: Vec<OrderRow> = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(order.id)
        .bind::<Integer, _>(order.epoch)
        .bind::<Varchar, _>(order.status.to_string())
        .bind::<Varchar, _>(state.status.as_str())
        .bind::<Nullable<Varchar>, _>(state.failure_reason.map(FailureReason::as_str))
        .bind::<Integer, _>(state.epoch)
        .bind::<Nullable<Integer>, _>(state.release_owed_epoch)
        .bind::<Bool, _>(state.refund_owed)
        .bind::<Bool, _>(state.shipment_owed)
        .bind::<Integer, _>(milliseconds(*lease))
        .bind::<Varchar, _>(reason.as_str())
        .bind::<Nullable<Varchar>, _>(trace_id.as_deref())
        .load(connection)
        .await?;
    Ok(changed.into_iter().next())
}
