//! Order's tables. Each change of an order is one statement: a compare-and-set on (id, epoch) that
//! also writes the event; changes of many orders that wait together are one statement too.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Numeric, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use rust_decimal::Decimal;
use uuid::Uuid;

mod events;
mod pagination;
mod position;
mod recovery_queue;

pub use events::{ChangeRow, EventRow, changes, events, position_at, snapshot};
pub use pagination::{Cursor, Filter, list};
pub use position::{InvalidPosition, Position, Snapshot};
pub use recovery_queue::{Claim, Claimed, Queue, backlog, claim, forget_keys, give_up, wake};

use crate::api::OrderStatus;
use crate::domain::saga::State;
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{CHANGE_TIMEOUT, DatabaseError, rolled_back};
use crate::platform::unknown_variant::UnknownVariant;
use crate::schema::orders;

#[derive(Debug, Clone, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = orders)]
pub struct OrderRow {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    /// What payment is asked to charge.
    pub amount: Decimal,
    pub status: String,
    pub failure_reason: Option<String>,
    pub epoch: i32,
    pub release_due: Option<i32>,
    pub void_due: bool,
    pub attempts: i32,
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl OrderRow {
    /// # Errors
    /// When the row's status is one that this release does not know.
    pub fn state(&self) -> Result<State, UnknownVariant> {
        Ok(State {
            status: self.status.parse()?,
            failure_reason: self
                .failure_reason
                .as_deref()
                .and_then(|reason| reason.parse().ok()),
            epoch: self.epoch,
            release_due: self.release_due,
            void_due: self.void_due,
        })
    }

    /// As [`transition`] leaves it.
    #[must_use]
    pub fn changed(self, state: State, at: DateTime<Utc>) -> Self {
        let status = state.status.as_str().to_owned();
        Self {
            attempts: if self.status == status {
                self.attempts
            } else {
                0
            },
            status,
            failure_reason: self.failure_reason.or_else(|| {
                state
                    .failure_reason
                    .map(|reason| reason.as_str().to_owned())
            }),
            release_due: state.release_due,
            void_due: state.void_due,
            updated_at: at,
            ..self
        }
    }
}

const COLUMNS: &str = "id, product_id, quantity, amount, status, failure_reason, epoch, release_due, void_due, \
                       attempts, traceparent, created_at, updated_at";

/// Must be the condition of the index `orders_unfinished`, word for word, or that index is not
/// used.
const UNFINISHED: &str = "status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')";
/// As above, of the index `orders_owing`.
const OWING: &str = "status IN ('CONFIRMED', 'FAILED') AND (release_due IS NOT NULL OR void_due)";

/// What a new order is made of.
#[derive(Debug)]
pub struct NewOrder {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    pub traceparent: Option<String>,
    /// How long the order belongs to the request that places it.
    pub lease: Duration,
    pub idempotency_key: Option<String>,
}

impl NewOrder {
    /// Its row, which need not be asked for: the rest is as the schema has it for a new order.
    fn placed(&self, amount: Decimal, at: DateTime<Utc>) -> OrderRow {
        OrderRow {
            id: self.id,
            product_id: self.product_id.clone(),
            quantity: self.quantity,
            amount,
            status: OrderStatus::Pending.as_str().to_owned(),
            failure_reason: None,
            epoch: 1,
            release_due: None,
            void_due: false,
            attempts: 0,
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
    // The trace's id is the second part of its `traceparent`. By key, so that no two batches wait
    // for each other in a circle.
    const TEXT: &'static str = ",
        placed AS (
            INSERT INTO orders (id, product_id, quantity, traceparent, lease_until, idempotency_key)
            SELECT id, product_id, quantity, traceparent, now() + lease_ms * interval '1 millisecond', idempotency_key
            FROM input
            ORDER BY idempotency_key
            ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
            RETURNING id, amount, status, epoch, traceparent, created_at),
        event AS (
            INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
            SELECT id, status, 'placed', epoch, NULLIF(split_part(traceparent, '-', 2), '') FROM placed)
        SELECT id, amount, created_at FROM placed";
    type Returns = (SqlUuid, Numeric, Timestamptz);
}

/// An insert is not begun unless it will probably be answered: the client is told whether its order
/// was stored.
pub const INSERT: BatchSpec<NewOrder, Option<OrderRow>> = BatchSpec {
    name: "place",
    statement: Insert::TEXT,
    execute: |connection, orders| insert(connection, orders).boxed(),
    find_locked: None,
    min_time: CHANGE_TIMEOUT,
};

/// Stores the orders, each unless its idempotency key is taken: then returns nothing for it and
/// changes nothing.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    orders: &[NewOrder],
) -> Result<Vec<Option<OrderRow>>, DatabaseError> {
    let rows: Vec<(Uuid, Decimal, DateTime<Utc>)> = UnnestQuery::<Insert, _>::new((
        array::<SqlUuid, _>(orders.iter().map(|order| order.id).collect()),
        array::<Varchar, _>(
            orders
                .iter()
                .map(|order| order.product_id.as_str())
                .collect(),
        ),
        array::<Integer, _>(orders.iter().map(|order| order.quantity).collect()),
        array::<Nullable<Varchar>, _>(
            orders
                .iter()
                .map(|order| order.traceparent.as_deref())
                .collect(),
        ),
        array::<Integer, _>(
            orders
                .iter()
                .map(|order| milliseconds(order.lease))
                .collect(),
        ),
        array::<Nullable<Varchar>, _>(
            orders
                .iter()
                .map(|order| order.idempotency_key.as_deref())
                .collect(),
        ),
    ))
    .load(connection)
    .await?;
    let rows: HashMap<_, _> = rows
        .into_iter()
        .map(|(id, amount, at)| (id, (amount, at)))
        .collect();
    let placed = |order: &NewOrder| {
        rows.get(&order.id)
            .map(|(amount, at)| order.placed(*amount, *at))
    };
    Ok(orders.iter().map(placed).collect())
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A change of an order by whoever holds its epoch.
#[derive(Debug)]
pub struct Transition {
    pub id: Uuid,
    pub state: State,
    pub reason: &'static str,
    pub trace_id: Option<String>,
    /// The attempt ends with this change: give up the lease, and let the next one come after so
    /// long.
    pub rest: Option<Duration>,
}

struct Change;

impl BatchStatement for Change {
    const COLUMNS: &'static str =
        "id, epoch, status, failure_reason, release_due, void_due, reason, trace_id, rest_ms";
    const TEXT: &'static str = ",
        changed AS (
            UPDATE orders o SET status = g.status, failure_reason = COALESCE(o.failure_reason, g.failure_reason),
                release_due = g.release_due, void_due = g.void_due, updated_at = now(),
                -- An unfinished order releases again what a later attempt reserves: only a final one owes it for good.
                owed_since = CASE WHEN g.status IN ('CONFIRMED', 'FAILED') AND (g.release_due IS NOT NULL OR g.void_due)
                    THEN COALESCE(o.owed_since, now()) END,
                attempts = CASE WHEN o.status = g.status THEN o.attempts ELSE 0 END,
                lease_until = CASE WHEN g.rest_ms IS NULL THEN o.lease_until END,
                next_attempt_at = COALESCE(now() + g.rest_ms * interval '1 millisecond', o.next_attempt_at),
                -- Epoch 1 is the request, which answers with the status it reached.
                answered = CASE WHEN o.epoch = 1 THEN g.status ELSE o.answered END
            FROM input g
            WHERE o.id = g.id AND o.epoch = g.epoch AND o.id = ANY ($1)
                -- The epoch alone is not enough: a failover that loses commits can give the same one twice.
                AND (o.status NOT IN ('CONFIRMED', 'FAILED') OR o.status = g.status)
            RETURNING o.id, o.status, o.epoch, o.updated_at, g.reason, g.trace_id),
        event AS (
            INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
            SELECT id, status, reason, epoch, trace_id FROM changed)
        SELECT id, epoch, updated_at FROM changed";
    type Returns = (SqlUuid, Integer, Timestamptz);
}

pub const CHANGE: BatchSpec<Transition, Option<DateTime<Utc>>> = BatchSpec {
    name: "change",
    statement: Change::TEXT,
    execute: |connection, changes| transition(connection, changes).boxed(),
    find_locked: Some(|connection, changes| locked(connection, changes).boxed()),
    min_time: Duration::ZERO,
};

/// Tells which orders another session has locked.
async fn locked(
    connection: &mut AsyncPgConnection,
    changes: &[Transition],
) -> Result<Vec<bool>, DatabaseError> {
    let ids: Vec<_> = changes.iter().map(|change| change.id).collect();
    let rows = || {
        orders::table
            .filter(orders::id.eq_any(&ids))
            .select(orders::id)
    };
    let free = rolled_back(connection, async |connection| {
        Ok(rows()
            .order(orders::id)
            .for_update()
            .skip_locked()
            .load::<Uuid>(connection)
            .await?)
    });
    let free: HashSet<_> = free.await?.into_iter().collect();
    let all: HashSet<Uuid> = rows().load(connection).await?.into_iter().collect();
    Ok(ids
        .iter()
        .map(|id| all.contains(id) && !free.contains(id))
        .collect())
}

/// Stores each change if its order still has that epoch and does not leave a final status, and
/// returns when; nothing where it was overtaken. One epoch has one driver, which waits for each of
/// its changes: no two of a batch are about the same order and epoch.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn transition(
    connection: &mut AsyncPgConnection,
    changes: &[Transition],
) -> Result<Vec<Option<DateTime<Utc>>>, DatabaseError> {
    let failure = |change: &Transition| {
        change
            .state
            .failure_reason
            .map(crate::api::FailureReason::as_str)
    };
    let rows: Vec<(Uuid, i32, DateTime<Utc>)> = UnnestQuery::<Change, _>::new((
        array::<SqlUuid, _>(changes.iter().map(|change| change.id).collect()),
        array::<Integer, _>(changes.iter().map(|change| change.state.epoch).collect()),
        array::<Varchar, _>(
            changes
                .iter()
                .map(|change| change.state.status.as_str())
                .collect(),
        ),
        array::<Nullable<Varchar>, _>(changes.iter().map(failure).collect()),
        array::<Nullable<Integer>, _>(
            changes
                .iter()
                .map(|change| change.state.release_due)
                .collect(),
        ),
        array::<Bool, _>(changes.iter().map(|change| change.state.void_due).collect()),
        array::<Varchar, _>(changes.iter().map(|change| change.reason).collect()),
        array::<Nullable<Varchar>, _>(
            changes
                .iter()
                .map(|change| change.trace_id.as_deref())
                .collect(),
        ),
        array::<Nullable<Integer>, _>(
            changes
                .iter()
                .map(|change| change.rest.map(milliseconds))
                .collect(),
        ),
    ))
    .load(connection)
    .await?;
    let rows: HashMap<_, _> = rows
        .into_iter()
        .map(|(id, epoch, at)| ((id, epoch), at))
        .collect();
    Ok(changes
        .iter()
        .map(|change| rows.get(&(change.id, change.state.epoch)).copied())
        .collect())
}

/// The order that has an idempotency key, and whether its request may still be under way.
#[derive(Debug, QueryableByName)]
pub struct Keyed {
    #[diesel(embed)]
    pub order: OrderRow,
    #[diesel(sql_type = Bool)]
    pub in_flight: bool,
}

/// # Errors
/// Those of the database.
pub async fn find_by_key(
    connection: &mut AsyncPgConnection,
    key: &str,
) -> Result<Option<Keyed>, DatabaseError> {
    let statement = format!(
        "SELECT {COLUMNS}, answered IS NULL AND epoch = 1 AND COALESCE(lease_until > now(), false) AS in_flight
         FROM orders WHERE idempotency_key = $1"
    );
    Ok(diesel::sql_query(statement)
        .bind::<Varchar, _>(key)
        .get_result(connection)
        .await
        .optional()?)
}

/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<OrderRow>, DatabaseError> {
    Ok(orders::table
        .find(id)
        .select(OrderRow::as_select())
        .first(connection)
        .await
        .optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_status_starts_a_new_count_of_attempts() {
        let new = NewOrder {
            id: Uuid::nil(),
            product_id: "PROD-001".to_owned(),
            quantity: 1,
            traceparent: None,
            lease: Duration::ZERO,
            idempotency_key: None,
        };
        let now = Utc::now();
        let order = OrderRow {
            attempts: 7,
            ..new.placed(Decimal::ONE, now)
        };
        let state = order.state().unwrap();
        assert_eq!(order.clone().changed(state, now).attempts, 7);
        let waiting = State {
            status: OrderStatus::PendingPayment,
            ..state
        };
        assert_eq!(order.changed(waiting, now).attempts, 0);
    }
}
