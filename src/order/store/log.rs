//! What happened to orders: the timeline of one, the changes of all.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::platform::database::DatabaseError;
use crate::schema::{order_events, orders};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = order_events)]
pub struct EventRow {
    pub at: DateTime<Utc>,
    pub status: String,
    pub reason: String,
    pub attempt: i32,
    pub trace_id: Option<String>,
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
