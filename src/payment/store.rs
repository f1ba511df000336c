//! Payment's table: one row for each order, for ever.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::api::PaymentStatus;
use crate::platform::database::DatabaseError;
use crate::schema::payments;

#[derive(Debug, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = payments)]
pub struct PaymentRow {
    pub id: Uuid,
    pub order_id: Uuid,
    pub amount: Decimal,
    pub status: String,
    pub created_at: DateTime<Utc>,
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
        .returning(PaymentRow::as_returning())
        .get_result(connection)
        .await
        .optional()?;
    Ok(inserted)
}

/// Refunds a success; leaves a tombstone where there was no payment, so that a late charge finds it.
///
/// # Errors
/// Those of the database.
pub async fn void(connection: &mut AsyncPgConnection, order_id: Uuid) -> Result<PaymentRow, DatabaseError> {
    let statement = "
        INSERT INTO payments (id, order_id, status) VALUES ($1, $2, 'VOIDED')
        ON CONFLICT (order_id) DO UPDATE SET status =
            CASE payments.status WHEN 'SUCCESS' THEN 'REFUNDED' WHEN 'PENDING' THEN 'VOIDED' ELSE payments.status END
        RETURNING id, order_id, amount, status, created_at";
    let row = diesel::sql_query(statement)
        .bind::<diesel::sql_types::Uuid, _>(Uuid::now_v7())
        .bind::<diesel::sql_types::Uuid, _>(order_id)
        .get_result(connection)
        .await?;
    Ok(row)
}
