//! Payment's table: one row for each order, for ever.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::rules;
use crate::api::PaymentStatus;
use crate::platform::database::{DatabaseError, committed};
use crate::schema::payments;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = payments)]
pub struct PaymentRow {
    pub id: Uuid,
    pub order_id: Uuid,
    pub amount: Decimal,
    pub status: String,
    pub created_at: DateTime<Utc>,
}

impl PaymentRow {
    /// # Errors
    /// When the row holds a name that this program does not know.
    pub fn status(&self) -> Result<PaymentStatus, DatabaseError> {
        self.status.parse().map_err(DatabaseError::unknown_name)
    }
}

/// # Errors
/// Those of the database.
pub async fn find(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<PaymentRow>, DatabaseError> {
    Ok(payments::table.find(id).select(PaymentRow::as_select()).first(connection).await.optional()?)
}

/// # Errors
/// Those of the database.
pub async fn find_by_order(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<Option<PaymentRow>, DatabaseError> {
    let of_order = payments::table.filter(payments::order_id.eq(order_id));
    Ok(of_order.select(PaymentRow::as_select()).first(connection).await.optional()?)
}

/// Stores the order's payment, unless there is one: then returns nothing and changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    amount: Decimal,
    status: PaymentStatus,
) -> Result<Option<PaymentRow>, DatabaseError> {
    let row = (
        payments::id.eq(Uuid::now_v7()),
        payments::order_id.eq(order_id),
        payments::amount.eq(amount),
        payments::status.eq(status.as_str()),
    );
    let inserted = diesel::insert_into(payments::table)
        .values(row)
        .on_conflict(payments::order_id)
        .do_nothing()
        .returning(PaymentRow::as_returning());
    Ok(committed(inserted.load(connection).await?))
}

/// Refunds a success; leaves a tombstone where there was no payment, so that a late charge finds it.
///
/// # Errors
/// Those of the database.
pub async fn void(connection: &mut AsyncPgConnection, order_id: Uuid) -> Result<PaymentRow, DatabaseError> {
    let attempt = try_void(connection, order_id).await;
    match attempt {
        // A charge or another void of the order was stored in between: its row is there now.
        Err(error) if error.violates("payments_once_per_order") => try_void(connection, order_id).await,
        other => other,
    }
}

async fn try_void(connection: &mut AsyncPgConnection, order_id: Uuid) -> Result<PaymentRow, DatabaseError> {
    connection
        .transaction(async |connection| {
            let of_order = payments::table.filter(payments::order_id.eq(order_id));
            let stored =
                of_order.select(PaymentRow::as_select()).for_update().first(connection).await.optional()?;
            let Some(row) = stored else {
                let status = payments::status.eq(rules::void(None).as_str());
                let tombstone = (payments::id.eq(Uuid::now_v7()), payments::order_id.eq(order_id), status);
                let insert = diesel::insert_into(payments::table).values(tombstone);
                return Ok(insert.returning(PaymentRow::as_returning()).get_result(connection).await?);
            };
            let after = rules::void(Some(row.status()?));
            let update = diesel::update(of_order).set(payments::status.eq(after.as_str()));
            Ok(update.returning(PaymentRow::as_returning()).get_result(connection).await?)
        })
        .await
}
