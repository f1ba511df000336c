//! Inserts new orders.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Integer, Nullable, Numeric, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::duration::milliseconds;
use super::order_row::OrderRow;
use crate::domain::saga::SagaState;
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{CHANGE_TIMEOUT, DatabaseError, Stored};

/// A new order.
#[derive(Debug)]
pub struct NewOrder {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    pub traceparent: Option<String>,
    /// How long recovery leaves the order to the request that places it.
    pub lease: Duration,
    pub idempotency_key: Option<String>,
}

impl NewOrder {
    /// The stored row. The columns that the statement does not return have the schema's defaults.
    fn to_row(&self, amount: Decimal, at: DateTime<Utc>) -> OrderRow {
        let SagaState {
            status,
            failure_reason,
            epoch,
            release_owed_epoch,
            refund_owed,
            shipment_owed,
            fulfilled: _,
        } = SagaState::PLACED;
        OrderRow {
            id: self.id,
            product_id: self.product_id.clone(),
            quantity: self.quantity,
            amount,
            status: Stored::from(status),
            failure_reason: failure_reason.map(Stored::from),
            epoch,
            release_owed_epoch,
            refund_owed,
            shipment_owed,
            fulfilled_at: None,
            owed_since: None,
            next_attempt_at: at,
            takeovers: 0,
            last_failure: None,
            traceparent: self.traceparent.clone(),
            created_at: at,
            updated_at: at,
        }
    }
}

struct Insert;

impl BatchStatement for Insert {
    const COLUMNS: &'static str =
        "id, product_id, quantity, traceparent, lease_ms, idempotency_key";
    // The second part of a `traceparent` is the trace's id. Keys are inserted in one order, so
    // that two batches never wait for each other in a circle.
    const TEXT: &'static str = ",
        placed AS (
            INSERT INTO orders (id, product_id, quantity, traceparent, lease_until,
                idempotency_key)
            SELECT id, product_id, quantity, traceparent,
                now() + lease_ms * interval '1 millisecond', idempotency_key
            FROM input
            ORDER BY idempotency_key
            ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
            RETURNING id, amount, status, epoch, traceparent, created_at),
        event AS (
            INSERT INTO order_events (order_id, status, reason, epoch, trace_id)
            SELECT id, status, 'placed', epoch, NULLIF(split_part(traceparent, '-', 2), '')
            FROM placed)
        SELECT id, amount, created_at FROM placed";
    type Returns = (SqlUuid, Numeric, Timestamptz);
}

/// Inserts in batches. An insert is not begun with less than [`CHANGE_TIMEOUT`] left, because the
/// client must learn whether its order was stored.
pub const INSERT: BatchSpec<NewOrder, Option<OrderRow>> = BatchSpec {
    name: "place",
    statement: Insert::TEXT,
    execute: |connection, orders| insert(connection, orders).boxed(),
    find_locked: None,
    min_time: CHANGE_TIMEOUT,
};

/// Stores the orders, all in one statement, and returns their rows. An order whose idempotency key
/// exists is not stored, and `None` is returned for it.
///
/// # Errors
/// Those of the database. No order was stored, unless [`DatabaseError::is_outcome_unknown`].
async fn insert(
    connection: &mut AsyncPgConnection,
    orders: &[NewOrder],
) -> Result<Vec<Option<OrderRow>>, DatabaseError> {
    let ids = orders.iter().map(|order| order.id);
    let product_ids = orders.iter().map(|order| order.product_id.as_str());
    let quantities = orders.iter().map(|order| order.quantity);
    let traceparents = orders.iter().map(|order| order.traceparent.as_deref());
    let leases = orders.iter().map(|order| milliseconds(order.lease));
    let keys = orders.iter().map(|order| order.idempotency_key.as_deref());
    let stored: Vec<(Uuid, Decimal, DateTime<Utc>)> = UnnestQuery::<Insert, _>::new((
        array::<SqlUuid, _>(ids.collect()),
        array::<Varchar, _>(product_ids.collect()),
        array::<Integer, _>(quantities.collect()),
        array::<Nullable<Varchar>, _>(traceparents.collect()),
        array::<Integer, _>(leases.collect()),
        array::<Nullable<Varchar>, _>(keys.collect()),
    ))
    .load(connection)
    .await?;
    let stored: HashMap<_, _> = stored
        .into_iter()
        .map(|(id, amount, at)| (id, (amount, at)))
        .collect();
    let row = |order: &NewOrder| {
        let (amount, at) = stored.get(&order.id)?;
        Some(order.to_row(*amount, *at))
    };
    Ok(orders.iter().map(row).collect())
}
