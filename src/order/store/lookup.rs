//! Finds single orders.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Uuid as SqlUuid, Varchar};
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
    /// The request that placed the order was answered that it is confirmed.
    #[diesel(sql_type = Bool)]
    pub answered_confirmed: bool,
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
             COALESCE(response_status = 'CONFIRMED', false) AS answered_confirmed
         FROM orders WHERE idempotency_key = $1",
        OrderRow::COLUMNS
    );
    let order = diesel::sql_query(statement).bind::<Varchar, _>(key);
    Ok(order.get_result(connection).await.optional()?)
}
