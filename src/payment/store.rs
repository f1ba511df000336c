//! Payment's table. It has one row for each order, until the order leaves.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Numeric, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use rust_decimal::Decimal;
use uuid::Uuid;

mod forget;

pub use forget::forget;

use super::schema::payments;
use crate::api::PaymentStatus;
use crate::domain::payment;
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{DatabaseError, Stored};
use crate::platform::unknown_variant::UnknownVariant;

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = payments)]
pub struct PaymentRow {
    pub id: Uuid,
    pub order_id: Uuid,
    pub amount: Decimal,
    pub status: Stored<PaymentStatus>,
    pub created_at: DateTime<Utc>,
}

/// A payment that the gateway has decided.
#[derive(Debug, Clone, Copy)]
pub struct DecidedPayment {
    pub order_id: Uuid,
    pub amount: Decimal,
    pub status: PaymentStatus,
}

impl DecidedPayment {
    /// The row that its insert wrote.
    fn into_row(self, id: Uuid, created_at: DateTime<Utc>) -> PaymentRow {
        let Self {
            order_id,
            amount,
            status,
        } = self;
        PaymentRow {
            id,
            order_id,
            amount,
            status: status.into(),
            created_at,
        }
    }
}

/// Batches of look-ups by order.
pub const FIND: BatchSpec<Uuid, Option<PaymentRow>> = BatchSpec {
    name: "find-payment",
    statement: "SELECT FROM payments WHERE order_id = ANY (orders)",
    execute: |connection, order_ids| find_by_order(connection, order_ids).boxed(),
    find_locked: None,
    min_time: Duration::ZERO,
};

/// Batches of inserts. The outcome is `None` if the order has a payment already.
pub const INSERT: BatchSpec<DecidedPayment, Option<PaymentRow>> = BatchSpec {
    name: "charge",
    statement: InsertPayments::TEXT,
    execute: |connection, decided| insert(connection, decided).boxed(),
    find_locked: None,
    min_time: Duration::ZERO,
};

/// Reads one payment by its own id.
///
/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<PaymentRow>, DatabaseError> {
    Ok(payments::table
        .find(id)
        .select(PaymentRow::as_select())
        .first(connection)
        .await
        .optional()?)
}

async fn find_by_order(
    connection: &mut AsyncPgConnection,
    order_ids: &[Uuid],
) -> Result<Vec<Option<PaymentRow>>, DatabaseError> {
    let of_orders = payments::table.filter(payments::order_id.eq_any(order_ids));
    let rows: Vec<PaymentRow> = of_orders
        .select(PaymentRow::as_select())
        .load(connection)
        .await?;
    let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.order_id, row)).collect();
    // Cloned, because a batch can ask for one order twice.
    let outcomes = order_ids.iter().map(|order_id| rows.get(order_id).cloned());
    Ok(outcomes.collect())
}

struct InsertPayments;

impl BatchStatement for InsertPayments {
    const COLUMNS: &'static str = "id, order_id, amount, status";
    // Ordered by order id, so that two batches cannot deadlock.
    const TEXT: &'static str = "
        INSERT INTO payments (id, order_id, amount, status)
        SELECT id, order_id, amount, status FROM input ORDER BY order_id
        ON CONFLICT (order_id) DO NOTHING
        RETURNING id, created_at";
    type Returns = (SqlUuid, Timestamptz);
}

async fn insert(
    connection: &mut AsyncPgConnection,
    decided: &[DecidedPayment],
) -> Result<Vec<Option<PaymentRow>>, DatabaseError> {
    let ids: Vec<_> = decided.iter().map(|_| Uuid::now_v7()).collect();
    let statuses = decided.iter().map(|payment| payment.status.as_str());
    let inserted: Vec<(Uuid, DateTime<Utc>)> = UnnestQuery::<InsertPayments, _>::new((
        array::<SqlUuid, _>(ids.clone()),
        array::<SqlUuid, _>(decided.iter().map(|payment| payment.order_id).collect()),
        array::<Numeric, _>(decided.iter().map(|payment| payment.amount).collect()),
        array::<Varchar, _>(statuses.collect()),
    ))
    .load(connection)
    .await?;
    let created_at: HashMap<_, _> = inserted.into_iter().collect();
    let outcomes = ids.iter().zip(decided).map(|(id, payment)| {
        let created_at = *created_at.get(id)?;
        Some(payment.into_row(*id, created_at))
    });
    Ok(outcomes.collect())
}

/// Marks an order's payment as refunded or voided. Without a payment it stores a tombstone, which a
/// later charge finds. Returns an error, and leaves the row as it is, if this version does not know
/// its status.
///
/// # Errors
/// Those of the database.
pub async fn void(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<Result<PaymentRow, UnknownVariant>, DatabaseError> {
    match try_void(connection, order_id).await {
        // A charge or another void of the order was stored in the meantime. Its row is found now.
        Err(error) if error.violates("payments_once_per_order") => {
            try_void(connection, order_id).await
        }
        other => other,
    }
}

async fn try_void(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<Result<PaymentRow, UnknownVariant>, DatabaseError> {
    connection
        .transaction(async |connection| {
            let of_order = payments::table.filter(payments::order_id.eq(order_id));
            let stored = of_order
                .select(PaymentRow::as_select())
                .for_update()
                .first(connection)
                .await
                .optional()?;
            let Some(row) = stored else {
                return Ok(Ok(insert_tombstone(connection, order_id).await?));
            };
            let status = match row.status.known() {
                Ok(status) => payment::void(Some(status)),
                Err(unknown) => return Ok(Err(unknown)),
            };
            let update = diesel::update(of_order).set(payments::status.eq(status.as_str()));
            let row = update.returning(PaymentRow::as_returning());
            Ok(Ok(row.get_result(connection).await?))
        })
        .await
}

async fn insert_tombstone(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<PaymentRow, DatabaseError> {
    let tombstone = (
        payments::id.eq(Uuid::now_v7()),
        payments::order_id.eq(order_id),
        payments::status.eq(payment::void(None).as_str()),
    );
    let insert = diesel::insert_into(payments::table).values(tombstone);
    let row = insert.returning(PaymentRow::as_returning());
    Ok(row.get_result(connection).await?)
}
