//! Deletes the payments of orders that leave.

use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::api::{Forget, Forgotten, PaymentStatus};
use crate::domain::retention::{Ending, ForgetPlan, RowOfOrder, answer_about, forget_payment};
use crate::payment::schema::payments;
use crate::platform::db::{DatabaseError, Stored};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    status: Stored<PaymentStatus>,
    #[diesel(sql_type = Integer)]
    bytes: i32,
}

impl Row {
    /// A status that this version does not know agrees with no ending.
    fn of_order(&self, request: &Forget) -> RowOfOrder {
        let ending = Ending::named_in(request, self.order_id);
        let known = self.status.known();
        RowOfOrder {
            order_id: self.order_id,
            state: self.status.to_string(),
            bytes: self.bytes.into(),
            plan: known.map_or(ForgetPlan::Refuse, |status| {
                forget_payment(Some(status), ending)
            }),
        }
    }
}

/// Deletes the payments of these orders that agree with how the orders ended, in one transaction.
/// In a dry run, deletes nothing. The result is what is deleted, and what stays.
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
                let rows = payments::table.filter(payments::order_id.eq_any(&order_ids));
                diesel::delete(rows).execute(connection).await?;
            }
            Ok(forgotten)
        })
        .await
}

/// Reads the payments of these orders, and locks them in the order of their ids, unless it is a dry
/// run.
async fn read(
    connection: &mut AsyncPgConnection,
    request: &Forget,
) -> Result<Vec<Row>, DatabaseError> {
    let order_ids = [request.failed.as_slice(), &request.fulfilled].concat();
    let lock = if request.dry_run { "" } else { "FOR UPDATE" };
    let statement = format!(
        "SELECT order_id, status, pg_column_size(p.*) AS bytes FROM payments p
         WHERE order_id = ANY ($1) ORDER BY order_id {lock}"
    );
    let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(order_ids);
    Ok(query.load(connection).await?)
}
