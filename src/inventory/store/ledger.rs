//! Loads a [`LedgerBatch`] under locks, and saves it.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::domain::ledger::{Entry, Goods, ReservationState};
use crate::inventory::ledger_batch::LedgerBatch;
use crate::inventory::schema::{inventory, reservations};
use crate::inventory::stock_level::{StockDelta, StockLevel};
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{DatabaseError, Stored};
use crate::platform::unknown_variant::UnknownVariant;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = reservations)]
struct LedgerRow {
    order_id: Uuid,
    epoch: i32,
    state: Stored<ReservationState>,
    product_id: Option<String>,
    quantity: Option<i32>,
}

impl LedgerRow {
    fn into_entry(self) -> Result<Entry, UnknownVariant> {
        let goods = self.product_id.zip(self.quantity);
        Ok(Entry {
            epoch: self.epoch,
            state: self.state.known()?,
            goods: goods.map(|(product_id, quantity)| Goods {
                product_id,
                quantity,
            }),
        })
    }
}

/// Whether an insert failed because another session inserted the order's row first.
pub fn is_duplicate(error: &DatabaseError) -> bool {
    error.violates("reservations_pkey")
}

/// Reads the ledger rows of these orders, and the rows of all products that these name or that
/// `product_ids` names. Locks every row, so that batches about one order or product run one after
/// the other.
///
/// # Errors
/// Those of the database.
pub async fn load_locked(
    connection: &mut AsyncPgConnection,
    order_ids: Vec<Uuid>,
    mut product_ids: BTreeSet<String>,
) -> Result<LedgerBatch, DatabaseError> {
    let rows = reservations::table
        .filter(reservations::order_id.eq_any(order_ids))
        .order(reservations::order_id)
        .select(LedgerRow::as_select())
        .for_update()
        .load(connection)
        .await?;
    product_ids.extend(rows.iter().filter_map(|row| row.product_id.clone()));
    let products = lock_products(connection, product_ids).await?;
    let entries = rows.into_iter().map(|row| (row.order_id, row.into_entry()));
    Ok(LedgerBatch::new(entries, products))
}

async fn lock_products(
    connection: &mut AsyncPgConnection,
    product_ids: BTreeSet<String>,
) -> Result<Vec<(String, StockLevel)>, DatabaseError> {
    if product_ids.is_empty() {
        return Ok(Vec::new());
    }
    let product_ids: Vec<_> = product_ids.into_iter().collect();
    let rows: Vec<(String, i32, i32)> = inventory::table
        .filter(inventory::product_id.eq_any(product_ids))
        .order(inventory::product_id)
        .select((inventory::product_id, inventory::stock, inventory::reserved))
        .for_update()
        .load(connection)
        .await?;
    let levels = rows
        .into_iter()
        .map(|(product_id, stock, reserved)| (product_id, StockLevel { stock, reserved }));
    Ok(levels.collect())
}

/// Saves what a batch has changed, in the transaction that loaded it.
///
/// # Errors
/// Those of the database; [`is_duplicate`] if another session has inserted a row of one of these
/// orders. The transaction must be rolled back.
pub async fn save(
    connection: &mut AsyncPgConnection,
    batch: &LedgerBatch,
) -> Result<(), DatabaseError> {
    save_stock(connection, batch).await?;
    save_entries(connection, batch).await
}

/// Moves units between stock and reserved, and from reserved to shipped. The rows are locked, so
/// the units that the batch saw are there. The conditions on `stock` and `reserved` turn a bug into
/// an error, never into negative figures.
struct MoveStock;

impl BatchStatement for MoveStock {
    const COLUMNS: &'static str = "product_id, reserving, shipping";
    const TEXT: &'static str = "
        UPDATE inventory i SET stock = stock - reserving,
            reserved = reserved + reserving - shipping, shipped = shipped + shipping
        FROM input WHERE i.product_id = input.product_id AND i.stock >= reserving
            AND i.reserved + reserving >= shipping
            AND i.product_id = ANY ($1)";
    type Returns = ();
}

async fn save_stock(
    connection: &mut AsyncPgConnection,
    batch: &LedgerBatch,
) -> Result<(), DatabaseError> {
    let deltas: Vec<StockDelta<'_>> = batch.stock_deltas().collect();
    if deltas.is_empty() {
        return Ok(());
    }
    let moved = UnnestQuery::<MoveStock, _>::new((
        array::<Varchar, _>(deltas.iter().map(|delta| delta.product_id).collect()),
        array::<Integer, _>(deltas.iter().map(|delta| delta.reserving).collect()),
        array::<Integer, _>(deltas.iter().map(|delta| delta.shipping).collect()),
    ))
    .execute(connection)
    .await?;
    if moved == deltas.len() {
        Ok(())
    } else {
        Err(diesel::result::Error::RollbackTransaction.into())
    }
}

/// Inserts the new entries, and updates the others. An insert of a row that exists violates the
/// primary key, and nothing is changed.
struct SaveEntries;

impl BatchStatement for SaveEntries {
    const COLUMNS: &'static str = "order_id, epoch, state, product_id, quantity, is_new";
    const TEXT: &'static str = ",
        added AS (
            INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
            SELECT order_id, epoch, state, product_id, quantity FROM input
            WHERE is_new ORDER BY order_id)
        UPDATE reservations r
        SET epoch = input.epoch, state = input.state, updated_at = now(),
            product_id = input.product_id, quantity = input.quantity
        FROM input WHERE NOT is_new AND r.order_id = input.order_id
            AND r.order_id = ANY ($1)";
    type Returns = ();
}

async fn save_entries(
    connection: &mut AsyncPgConnection,
    batch: &LedgerBatch,
) -> Result<(), DatabaseError> {
    let rows: Vec<_> = batch.changed_entries().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let goods = || rows.iter().map(|row| row.entry.goods.as_ref());
    let product_ids = goods().map(|goods| Some(goods?.product_id.as_str()));
    let quantities = goods().map(|goods| Some(goods?.quantity));
    UnnestQuery::<SaveEntries, _>::new((
        array::<SqlUuid, _>(rows.iter().map(|row| row.order_id).collect()),
        array::<Integer, _>(rows.iter().map(|row| row.entry.epoch).collect()),
        array::<Varchar, _>(rows.iter().map(|row| row.entry.state.as_str()).collect()),
        array::<Nullable<Varchar>, _>(product_ids.collect()),
        array::<Nullable<Integer>, _>(quantities.collect()),
        array::<Bool, _>(rows.iter().map(|row| row.is_new).collect()),
    ))
    .execute(connection)
    .await?;
    Ok(())
}
