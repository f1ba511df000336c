//! Finds single orders.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::order_row::OrderRow;
use crate::platform::db::DatabaseError;

/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<OrderRow>, DatabaseError> {
    let statement = format!("SELECT {} FROM orders WHERE id = $1", OrderRow::COLUMNS);
    let order = diesel::sql_query(statement).bind::<SqlUuid, _>(id);
    Ok(order.get_result(connection).await.optional()?)
}

/// The order with an idempotency key.
#[derive(Debug, QueryableByName)]
pub struct KeyedOrder {
    #[diesel(embed)]
    pub order: OrderRow,
    /// The request that placed the order may still be in progress.
    #[diesel(sql_type = Bool)]
    pub in_flight: bool,
    /// When the request that placed the order stored that it is confirmed, and was answered so;
    /// `None` if it ended in another way.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// # Errors
/// Those of the database.
pub async fn find_by_key(
    connection: &mut AsyncPgConnection,
    key: &str,
) -> Result<Option<KeyedOrder>, DatabaseError> {
    let statement = format!(
        "SELECT {},
             response_status IS NULL AND epoch = 1 AND COALESCE(lease_until > now(), false)
                 AS in_flight,
             CASE WHEN response_status = 'CONFIRMED' THEN response_at END AS confirmed_at
         FROM orders WHERE idempotency_key = $1",
        OrderRow::COLUMNS
    );
    let order = diesel::sql_query(statement).bind::<Varchar, _>(key);
    Ok(order.get_result(connection).await.optional()?)
}
