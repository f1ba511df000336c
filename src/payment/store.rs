//! Payment's table: one row for each order, for ever.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Numeric, Timestamptz, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::api::PaymentStatus;
use crate::domain::payment;
use crate::platform::db::DatabaseError;
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{Given, Statement, array};
use crate::platform::unknown_variant::UnknownVariant;
use crate::schema::payments;

#[derive(Debug, Clone, Queryable, Selectable)]
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
    /// When the row's status is one that this release does not know.
    pub fn status(&self) -> Result<PaymentStatus, UnknownVariant> {
        self.status.parse()
    }
}

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

/// # Errors
/// Those of the database.
pub async fn find_by_order(
    connection: &mut AsyncPgConnection,
    order_ids: &[Uuid],
) -> Result<Vec<Option<PaymentRow>>, DatabaseError> {
    let of_orders = payments::table.filter(payments::order_id.eq_any(order_ids));
    let rows: Vec<PaymentRow> = of_orders
        .select(PaymentRow::as_select())
        .load(connection)
        .await?;
    // Cloned, because the same order may be asked for twice.
    let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.order_id, row)).collect();
    Ok(order_ids
        .iter()
        .map(|order_id| rows.get(order_id).cloned())
        .collect())
}

/// What the gateway decided for an order.
#[derive(Debug, Clone, Copy)]
pub struct Decided {
    pub order_id: Uuid,
    pub amount: Decimal,
    pub status: PaymentStatus,
}

impl Decided {
    fn stored(self, id: Uuid, created_at: DateTime<Utc>) -> PaymentRow {
        let Self {
            order_id,
            amount,
            status,
        } = self;
        PaymentRow {
            id,
            order_id,
            amount,
            status: status.as_str().to_owned(),
            created_at,
        }
    }
}

struct Insert;

impl Statement for Insert {
    const COLUMNS: &'static str = "id, order_id, amount, status";
    // By order, so that no two batches wait for each other in a circle.
    const TEXT: &'static str = "
        INSERT INTO payments (id, order_id, amount, status)
        SELECT id, order_id, amount, status FROM given ORDER BY order_id
        ON CONFLICT (order_id) DO NOTHING
        RETURNING id, created_at";
    type Returns = (SqlUuid, Timestamptz);
}

pub const FIND: BatchSpec<Uuid, Option<PaymentRow>> = BatchSpec {
    name: "find-payment",
    statement: "SELECT FROM payments WHERE order_id = ANY (orders)",
    execute: |connection, orders| find_by_order(connection, orders).boxed(),
    find_locked: None,
    min_time: Duration::ZERO,
};

pub const INSERT: BatchSpec<Decided, Option<PaymentRow>> = BatchSpec {
    name: "charge",
    statement: Insert::TEXT,
    execute: |connection, decided| insert(connection, decided).boxed(),
    find_locked: None,
    min_time: Duration::ZERO,
};

/// Stores the payments, each unless its order has one: then returns nothing for it and changes
/// nothing.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    decided: &[Decided],
) -> Result<Vec<Option<PaymentRow>>, DatabaseError> {
    let ids: Vec<_> = decided.iter().map(|_| Uuid::now_v7()).collect();
    let rows: Vec<(Uuid, DateTime<Utc>)> = Given::<Insert, _>::new((
        array::<SqlUuid, _>(ids.clone()),
        array::<SqlUuid, _>(decided.iter().map(|payment| payment.order_id).collect()),
        array::<Numeric, _>(decided.iter().map(|payment| payment.amount).collect()),
        array::<Varchar, _>(
            decided
                .iter()
                .map(|payment| payment.status.as_str())
                .collect(),
        ),
    ))
    .load(connection)
    .await?;
    let rows: HashMap<_, _> = rows.into_iter().collect();
    let row = |(id, payment): (&Uuid, &Decided)| Some(payment.stored(*id, *rows.get(id)?));
    Ok(ids.iter().zip(decided).map(row).collect())
}

/// Refunds a success; leaves a tombstone where there was no payment, so that a late charge finds
/// it. A row whose status this release does not know is left alone.
///
/// # Errors
/// Those of the database.
pub async fn void(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
) -> Result<Result<PaymentRow, UnknownVariant>, DatabaseError> {
    let attempt = try_void(connection, order_id).await;
    match attempt {
        // A charge or another void of the order was stored in between: its row is there now.
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
                let status = payments::status.eq(payment::void(None).as_str());
                let tombstone = (
                    payments::id.eq(Uuid::now_v7()),
                    payments::order_id.eq(order_id),
                    status,
                );
                let insert = diesel::insert_into(payments::table).values(tombstone);
                return Ok(Ok(insert
                    .returning(PaymentRow::as_returning())
                    .get_result(connection)
                    .await?));
            };
            let after = match row.status() {
                Ok(status) => payment::void(Some(status)),
                Err(unknown) => return Ok(Err(unknown)),
            };
            let update = diesel::update(of_order).set(payments::status.eq(after.as_str()));
            Ok(Ok(update
                .returning(PaymentRow::as_returning())
                .get_result(connection)
                .await?))
        })
        .await
}
