//! Order's tables. Each change of an order is one statement: a compare-and-set on (id, epoch) that also writes the event;
//! changes of many orders that wait together are one statement too.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::flow::State;
use crate::api::OrderStatus;
use crate::platform::batch::Kind;
use crate::platform::database::DatabaseError;
use crate::platform::given::{Given, Statement, array};
use crate::schema::{order_events, orders};

#[derive(Debug, Clone, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = orders)]
pub struct OrderRow {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    pub status: String,
    pub failure_reason: Option<String>,
    pub epoch: i32,
    pub release_due: Option<i32>,
    pub void_due: bool,
    pub attempts: i32,
    pub answered: Option<String>,
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl OrderRow {
    /// # Errors
    /// When the row holds a name that this program does not know.
    pub fn state(&self) -> Result<State, DatabaseError> {
        Ok(State {
            status: self.status.parse().map_err(DatabaseError::unknown_name)?,
            failure_reason: self
                .failure_reason
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(DatabaseError::unknown_name)?,
            epoch: self.epoch,
            release_due: self.release_due,
            void_due: self.void_due,
        })
    }
}

const COLUMNS: &str = "id, product_id, quantity, status, failure_reason, epoch, release_due, void_due, attempts, \
                       answered, traceparent, created_at, updated_at";

/// Must be the condition of the index `orders_unsettled`, word for word, or that index is not used.
const UNSETTLED: &str =
    "(status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT') OR release_due IS NOT NULL OR void_due)";

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = order_events)]
pub struct EventRow {
    pub at: DateTime<Utc>,
    pub status: String,
    pub reason: String,
    pub attempt: i32,
    pub trace_id: Option<String>,
}

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

struct Insert;

impl Statement for Insert {
    const COLUMNS: &'static str = "id, product_id, quantity, traceparent, lease_ms, idempotency_key";
    // The trace's id is the second part of its `traceparent`.
    const TEXT: &'static str = ",
        placed AS (
            INSERT INTO orders (id, product_id, quantity, traceparent, lease_until, idempotency_key)
            SELECT id, product_id, quantity, traceparent, now() + lease_ms * interval '1 millisecond', idempotency_key
            FROM given
            ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING *),
        event AS (
            INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
            SELECT id, status, 'placed', epoch, NULLIF(split_part(traceparent, '-', 2), '') FROM placed)
        SELECT id, product_id, quantity, status, failure_reason, epoch, release_due, void_due, attempts, answered,
            traceparent, created_at, updated_at FROM placed";
    type Returns = SqlTypeOf<AsSelect<OrderRow, Pg>>;
}

pub const INSERT: Kind = Kind { name: "place", statement: Insert::TEXT };

/// Stores the orders, each unless its idempotency key is taken: then returns nothing for it and changes nothing.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    orders: &[NewOrder],
) -> Result<Vec<Option<OrderRow>>, DatabaseError> {
    let rows: Vec<OrderRow> = Given::<Insert, _>::new((
        array::<SqlUuid, _>(orders.iter().map(|order| order.id).collect()),
        array::<Varchar, _>(orders.iter().map(|order| order.product_id.as_str()).collect()),
        array::<Integer, _>(orders.iter().map(|order| order.quantity).collect()),
        array::<Nullable<Varchar>, _>(orders.iter().map(|order| order.traceparent.as_deref()).collect()),
        array::<Integer, _>(orders.iter().map(|order| milliseconds(order.lease)).collect()),
        array::<Nullable<Varchar>, _>(orders.iter().map(|order| order.idempotency_key.as_deref()).collect()),
    ))
    .load(connection)
    .await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
    Ok(orders.iter().map(|order| rows.remove(&order.id)).collect())
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
    /// The attempt ends with this change: give up the lease, and let the next one come after so long.
    pub rest: Option<Duration>,
}

struct Change;

impl Statement for Change {
    const COLUMNS: &'static str =
        "id, epoch, status, failure_reason, release_due, void_due, reason, trace_id, rest_ms";
    const TEXT: &'static str = ",
        changed AS (
            UPDATE orders o SET status = g.status, failure_reason = g.failure_reason, release_due = g.release_due,
                void_due = g.void_due, updated_at = now(),
                lease_until = CASE WHEN g.rest_ms IS NULL THEN o.lease_until END,
                next_attempt_at = COALESCE(now() + g.rest_ms * interval '1 millisecond', o.next_attempt_at),
                -- Epoch 1 is the request, which answers with the status it reached.
                answered = CASE WHEN o.epoch = 1 THEN g.status ELSE o.answered END
            FROM given g
            WHERE o.id = g.id AND o.epoch = g.epoch AND o.id = ANY (ARRAY (SELECT id FROM given))
            RETURNING o.*, g.reason, g.trace_id),
        event AS (
            INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
            SELECT id, status, reason, epoch, trace_id FROM changed)
        SELECT id, product_id, quantity, status, failure_reason, epoch, release_due, void_due, attempts, answered,
            traceparent, created_at, updated_at FROM changed";
    type Returns = SqlTypeOf<AsSelect<OrderRow, Pg>>;
}

pub const CHANGE: Kind = Kind { name: "change", statement: Change::TEXT };

/// Stores each change if its order still has that epoch; returns nothing where it was overtaken. One epoch has one
/// driver, which waits for each of its changes: no two of a batch are about the same order and epoch.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn transition(
    connection: &mut AsyncPgConnection,
    changes: &[Transition],
) -> Result<Vec<Option<OrderRow>>, DatabaseError> {
    let failure = |change: &Transition| change.state.failure_reason.map(crate::api::FailureReason::as_str);
    let rows: Vec<OrderRow> = Given::<Change, _>::new((
        array::<SqlUuid, _>(changes.iter().map(|change| change.id).collect()),
        array::<Integer, _>(changes.iter().map(|change| change.state.epoch).collect()),
        array::<Varchar, _>(changes.iter().map(|change| change.state.status.as_str()).collect()),
        array::<Nullable<Varchar>, _>(changes.iter().map(failure).collect()),
        array::<Nullable<Integer>, _>(changes.iter().map(|change| change.state.release_due).collect()),
        array::<Bool, _>(changes.iter().map(|change| change.state.void_due).collect()),
        array::<Varchar, _>(changes.iter().map(|change| change.reason).collect()),
        array::<Nullable<Varchar>, _>(changes.iter().map(|change| change.trace_id.as_deref()).collect()),
        array::<Nullable<Integer>, _>(changes.iter().map(|change| change.rest.map(milliseconds)).collect()),
    ))
    .load(connection)
    .await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| ((row.id, row.epoch), row)).collect();
    Ok(changes.iter().map(|change| rows.remove(&(change.id, change.state.epoch))).collect())
}

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
    Ok(diesel::sql_query(statement).bind::<Varchar, _>(key).get_result(connection).await.optional()?)
}

/// Notes what a request was answered with that could not note it itself.
///
/// # Errors
/// Those of the database.
pub async fn note_answer(connection: &mut AsyncPgConnection, order: &OrderRow) -> Result<(), DatabaseError> {
    let unanswered = orders::table.find(order.id).filter(orders::answered.is_null());
    diesel::update(unanswered).set(orders::answered.eq(&order.status)).execute(connection).await?;
    Ok(())
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

/// # Errors
/// Those of the database.
pub async fn find(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<OrderRow>, DatabaseError> {
    Ok(orders::table.find(id).select(OrderRow::as_select()).first(connection).await.optional()?)
}

/// Oldest first.
///
/// # Errors
/// Those of the database.
pub async fn events(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<Vec<EventRow>, DatabaseError> {
    let of_order = order_events::table.filter(order_events::order_id.eq(order_id)).order(order_events::id);
    Ok(of_order.select(EventRow::as_select()).load(connection).await?)
}

/// A change of an order, with what the order is about.
#[derive(Debug, Queryable)]
pub struct ChangeRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub status: String,
    pub reason: String,
    pub attempt: i32,
    pub trace_id: Option<String>,
    pub order_id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    pub failure_reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl ChangeRow {
    #[cfg(test)]
    pub fn example(id: i64) -> Self {
        Self {
            id,
            at: DateTime::default(),
            status: "PENDING".to_owned(),
            reason: "placed".to_owned(),
            attempt: 1,
            trace_id: None,
            order_id: Uuid::nil(),
            product_id: "PROD-001".to_owned(),
            quantity: 1,
            failure_reason: None,
            created_at: DateTime::default(),
        }
    }
}

/// The number of the newest change; 0 when there is none.
///
/// # Errors
/// Those of the database.
pub async fn newest_change(connection: &mut AsyncPgConnection) -> Result<i64, DatabaseError> {
    let newest: Option<i64> =
        order_events::table.select(diesel::dsl::max(order_events::id)).first(connection).await?;
    Ok(newest.unwrap_or_default())
}

/// Changes of all orders after that one, the oldest first.
///
/// # Errors
/// Those of the database.
pub async fn changes(
    connection: &mut AsyncPgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<ChangeRow>, DatabaseError> {
    let columns = (
        order_events::id,
        order_events::at,
        order_events::status,
        order_events::reason,
        order_events::attempt,
        order_events::trace_id,
        orders::id,
        orders::product_id,
        orders::quantity,
        orders::failure_reason,
        orders::created_at,
    );
    let later = order_events::table.inner_join(orders::table).filter(order_events::id.gt(after));
    Ok(later.select(columns).order(order_events::id).limit(limit).load(connection).await?)
}

/// Sixteen digits, until the year 2286. PostgreSQL's times end earlier than those that a number can stand for.
const LATEST_MICROS: i64 = 9_999_999_999_999_999;

/// Where a page ends: the next one begins with the next older order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: DateTime<Utc>,
    pub id: Uuid,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.created_at.timestamp_micros(), self.id.simple())
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, id) = text.rsplit_once('-').ok_or(())?;
        let micros = micros.parse().ok().filter(|micros| (0..=LATEST_MICROS).contains(micros));
        let created_at = micros.and_then(DateTime::from_timestamp_micros).ok_or(())?;
        let cursor = Self { created_at, id: Uuid::try_parse(id).map_err(|_| ())? };
        // As it was given out, and in no other way of writing the same.
        if cursor.to_string() == text { Ok(cursor) } else { Err(()) }
    }
}

/// What to list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub status: Option<OrderStatus>,
    pub product_id: Option<&'a str>,
    pub before: Option<Cursor>,
    pub limit: i64,
}

/// Newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter<'_>,
) -> Result<Vec<OrderRow>, DatabaseError> {
    let mut query = orders::table.select(OrderRow::as_select()).into_boxed();
    if let Some(status) = filter.status {
        query = query.filter(orders::status.eq(status.as_str()));
    }
    if let Some(product_id) = filter.product_id {
        query = query.filter(orders::product_id.eq(product_id));
    }
    if let Some(Cursor { created_at, id }) = filter.before {
        let older = diesel::dsl::sql::<Bool>("(created_at, id) < (")
            .bind::<Timestamptz, _>(created_at)
            .sql(", ")
            .bind::<SqlUuid, _>(id)
            .sql(")");
        query = query.filter(older);
    }
    Ok(query
        .order((orders::created_at.desc(), orders::id.desc()))
        .limit(filter.limit)
        .load(connection)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = Cursor {
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            id: Uuid::now_v7(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "-", "x-y", "12", "99999999999999999999-0", "1700000000123456-nothex"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
        let id = Uuid::nil().simple();
        for far in ["-1", "-8000000000000000000", "10000000000000000", "8000000000000000000", "+1", "01"] {
            assert_eq!(format!("{far}-{id}").parse::<Cursor>(), Err(()), "{far}");
        }
    }
}
