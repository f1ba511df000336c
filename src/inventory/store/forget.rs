//! Deletes the ledger's rows of orders that leave, and counts the units that they have shipped.

use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::api::{Forget, Forgotten, RefusedOrder};
use crate::domain::ledger::ReservationState;
use crate::domain::retention::{Ending, ForgetPlan, forget_reservation};
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
            let mut forgotten = Forgotten::default();
            let mut order_ids = Vec::new();
            for row in read(connection, request).await? {
                let ending = Ending::named_in(request, row.order_id);
                if plan(&row, ending) == ForgetPlan::Delete {
                    order_ids.push(row.order_id);
                    forgotten.rows += 1;
                    forgotten.bytes += i64::from(row.bytes);
                } else {
                    forgotten.refused.push(RefusedOrder {
                        order_id: row.order_id,
                        state: row.state.to_string(),
                    });
                }
            }
            if !request.dry_run && !order_ids.is_empty() {
                delete(connection, order_ids).await?;
            }
            Ok(forgotten)
        })
        .await
}

/// A state that this version does not know agrees with no ending.
fn plan(row: &Row, ending: Ending) -> ForgetPlan {
    let state = row.state.known();
    state.map_or(ForgetPlan::Refuse, |state| {
        forget_reservation(Some(state), ending)
    })
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
