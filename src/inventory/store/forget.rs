//! Deletes the ledger's rows of orders that leave, and counts the units that they have shipped.

use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::api::{Forget, Forgotten};
use crate::domain::ledger::ReservationState;
use crate::domain::retention::{Ending, ForgetPlan, RowOfOrder, answer_about, forget_reservation};
use crate::platform::db::{DatabaseError, Stored};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    state: Stored<ReservationState>,
    #[diesel(sql_type = Integer)]
    bytes: i32,
}

impl Row {
    /// A state that this version does not know agrees with no ending.
    fn of_order(&self, request: &Forget) -> RowOfOrder {
        let ending = Ending::named_in(request, self.order_id);
        let known = self.state.known();
        RowOfOrder {
            order_id: self.order_id,
            state: self.state.to_string(),
            bytes: self.bytes.into(),
            plan: known.map_or(ForgetPlan::Refuse, |state| {
                forget_reservation(Some(state), ending)
            }),
        }
    }
}

/// Deletes the rows of these orders that agree with how the orders ended, in one transaction. In a
/// dry run, deletes nothing. The result is what is deleted, and what stays.
///
/// # Errors
/// Those of the database.
pub async fn forget(
    connection: &mut AsyncPgConnection,
    request: &Forget,
) -> Result<Forgotten, DatabaseError> {
    connection
        .transaction(async |connection| {
            let rows = read(connection, request).await?;
            let rows = rows.into_iter().map(|row| row.of_order(request));
            let (order_ids, forgotten) = answer_about(rows);
            if !request.dry_run && !order_ids.is_empty() {
                delete(connection, order_ids).await?;
            }
            Ok(forgotten)
        })
        .await
}

/// Reads the rows of these orders, and locks them in the order of their ids, unless it is a dry
/// run.
async fn read(
    connection: &mut AsyncPgConnection,
    request: &Forget,
) -> Result<Vec<Row>, DatabaseError> {
    let order_ids = [request.failed.as_slice(), &request.fulfilled].concat();
    let lock = if request.dry_run { "" } else { "FOR UPDATE" };
    let statement = format!(
        "SELECT order_id, state, pg_column_size(r.*) AS bytes FROM reservations r
         WHERE order_id = ANY ($1) ORDER BY order_id {lock}"
    );
    let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(order_ids);
    Ok(query.load(connection).await?)
}

/// Deletes rows that are locked. The units of those that are shipped are counted by the same
/// statement, so `shipped` of each product is at all times what the ledger and the count say.
async fn delete(
    connection: &mut AsyncPgConnection,
    order_ids: Vec<Uuid>,
) -> Result<(), DatabaseError> {
    let statement = "
        WITH forgotten AS (
            DELETE FROM reservations WHERE order_id = ANY ($1)
            RETURNING state, product_id, quantity),
        counted AS (
            INSERT INTO forgotten_shipments AS f (product_id, quantity)
            SELECT product_id, sum(quantity) FROM forgotten WHERE state = 'SHIPPED'
            GROUP BY product_id ORDER BY product_id
            ON CONFLICT (product_id) DO UPDATE SET quantity = f.quantity + EXCLUDED.quantity)
        SELECT count(*) FROM forgotten";
    let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(order_ids);
    query.execute(connection).await?;
    Ok(())
}
