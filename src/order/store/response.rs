//! The response that an idempotency key repeats.

use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::order_row::OrderRow;
use crate::platform::db::DatabaseError;

/// Stores that the request which placed this order is answered that it is confirmed. A transition
/// of that request does so itself; this is for an order that another attempt has confirmed. Returns
/// `false`, and stores nothing, if the order is no longer confirmed.
///
/// # Errors
/// Those of the database.
pub async fn store_confirmed_response(
    connection: &mut AsyncPgConnection,
    order: &OrderRow,
) -> Result<bool, DatabaseError> {
    let statement = "UPDATE orders SET response_status = status, response_at = $2
                     WHERE id = $1 AND status = 'CONFIRMED'";
    let update = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(order.id)
        .bind::<Timestamptz, _>(order.updated_at);
    Ok(update.execute(connection).await? == 1)
}
