//! Order's tables. Each change of an order is one statement: a compare-and-set on (id, epoch) that also writes the event.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::flow::State;
use crate::api::OrderStatus;
use crate::platform::database::DatabaseError;
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
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "id, product_id, quantity, status, failure_reason, epoch, release_due, void_due, attempts, \
                       traceparent, created_at, updated_at";

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
pub struct NewOrder<'a> {
    pub id: Uuid,
    pub product_id: &'a str,
    pub quantity: i32,
    pub traceparent: Option<&'a str>,
    pub trace_id: Option<&'a str>,
    /// How long the order belongs to the request that places it.
    pub lease: std::time::Duration,
}

/// # Errors
/// Those of the database.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    order: &NewOrder<'_>,
) -> Result<OrderRow, DatabaseError> {
    let statement = format!(
        "WITH placed AS (
             INSERT INTO orders (id, product_id, quantity, traceparent, lease_until)
             VALUES ($1, $2, $3, $4, now() + $5 * interval '1 millisecond') RETURNING *),
         event AS (
             INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
             SELECT id, status, 'placed', epoch, $6 FROM placed)
         SELECT {COLUMNS} FROM placed"
    );
    let row = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(order.id)
        .bind::<Varchar, _>(order.product_id)
        .bind::<Integer, _>(order.quantity)
        .bind::<Nullable<Varchar>, _>(order.traceparent)
        .bind::<Integer, _>(milliseconds(order.lease))
        .bind::<Nullable<Varchar>, _>(order.trace_id)
        .get_result(connection)
        .await?;
    Ok(row)
}

fn milliseconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A change of an order by whoever holds its epoch.
pub struct Transition<'a> {
    pub id: Uuid,
    pub state: State,
    pub reason: &'a str,
    pub trace_id: Option<&'a str>,
}

/// Stores the change if the order still has that epoch; returns nothing where it was overtaken.
///
/// # Errors
/// Those of the database.
pub async fn transition(
    connection: &mut AsyncPgConnection,
    change: &Transition<'_>,
) -> Result<Option<OrderRow>, DatabaseError> {
    let statement = format!(
        "WITH changed AS (
             UPDATE orders SET status = $3, failure_reason = $4, release_due = $5, void_due = $6, updated_at = now()
             WHERE id = $1 AND epoch = $2 RETURNING *),
         event AS (
             INSERT INTO order_events (order_id, status, reason, attempt, trace_id)
             SELECT id, status, $7, epoch, $8 FROM changed)
         SELECT {COLUMNS} FROM changed"
    );
    let row = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(change.id)
        .bind::<Integer, _>(change.state.epoch)
        .bind::<Varchar, _>(change.state.status.as_str())
        .bind::<Nullable<Varchar>, _>(change.state.failure_reason.map(crate::api::FailureReason::as_str))
        .bind::<Nullable<Integer>, _>(change.state.release_due)
        .bind::<Bool, _>(change.state.void_due)
        .bind::<Text, _>(change.reason)
        .bind::<Nullable<Varchar>, _>(change.trace_id)
        .get_result(connection)
        .await
        .optional()?;
    Ok(row)
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
        let created_at = micros.parse().ok().and_then(DateTime::from_timestamp_micros).ok_or(())?;
        Ok(Self { created_at, id: Uuid::try_parse(id).map_err(|_| ())? })
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
    }
}
