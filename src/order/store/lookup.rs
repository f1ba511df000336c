//! Finds single orders.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::order_row::OrderRow;
use crate::order::schema::orders;
use crate::platform::db::DatabaseError;

/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<OrderRow>, DatabaseError> {
    let order = orders::table.find(id).select(OrderRow::as_select());
    Ok(order.first(connection).await.optional()?)
}

/// The order with an idempotency key.
#[derive(Debug, QueryableByName)]
pub struct KeyedOrder {
    #[diesel(embed)]
    pub order: OrderRow,
    /// The request that placed the order may still be in progress.
    #[diesel(sql_type = Bool)]
    pub in_flight: bool,
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
                 AS in_flight
         FROM orders WHERE idempotency_key = $1",
        OrderRow::COLUMNS
    );
    let order = diesel::sql_query(statement).bind::<Varchar, _>(key);
    Ok(order.get_result(connection).await.optional()?)
}
