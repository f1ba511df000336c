//! Inventory's tables. The ledger's row and the stock move in one transaction, by guarded statements.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::ledger::{self, Entry, Goods, Hold, ReleasePlan, ReservePlan};
use crate::platform::database::DatabaseError;
use crate::schema::{inventory, reservations};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = inventory)]
pub struct StockRow {
    pub product_id: String,
    pub stock: i32,
    pub reserved: i32,
    pub stocked: i32,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = reservations)]
struct LedgerRow {
    epoch: i32,
    state: String,
    product_id: Option<String>,
    quantity: Option<i32>,
}

impl LedgerRow {
    fn into_entry(self) -> Entry {
        let goods = self.product_id.zip(self.quantity);
        Entry {
            epoch: self.epoch,
            hold: if self.state == HELD { Hold::Held } else { Hold::Released },
            goods: goods.map(|(product_id, quantity)| Goods { product_id, quantity }),
        }
    }
}

const HELD: &str = "HELD";
const RELEASED: &str = "RELEASED";

/// How a reserve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveOutcome {
    Held { stock: i32, reserved: i32 },
    InsufficientStock,
    UnknownProduct,
    Stale,
    OtherGoods,
}

/// # Errors
/// Those of the database.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<StockRow>, DatabaseError> {
    Ok(inventory::table.order(inventory::product_id).select(StockRow::as_select()).load(connection).await?)
}

/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    product_id: &str,
) -> Result<Option<StockRow>, DatabaseError> {
    Ok(inventory::table.find(product_id).select(StockRow::as_select()).first(connection).await.optional()?)
}

/// Reserves goods for an order, by the rules of the ledger.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn reserve(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: i32,
    goods: &Goods,
) -> Result<ReserveOutcome, DatabaseError> {
    let attempt = try_reserve(connection, order_id, epoch, goods).await;
    match attempt {
        // The same order's first message arrived twice at once, and the other one was faster: its row is there now.
        Err(error) if error.violates("reservations_pkey") => {
            try_reserve(connection, order_id, epoch, goods).await
        }
        other => other,
    }
}

async fn try_reserve(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: i32,
    goods: &Goods,
) -> Result<ReserveOutcome, DatabaseError> {
    connection
        .transaction(async |connection| {
            let entry = lock(connection, order_id).await?;
            match ledger::reserve(entry.as_ref(), epoch, goods) {
                ReservePlan::Take => take(connection, order_id, epoch, goods, entry.is_some()).await,
                ReservePlan::Restamp => {
                    write(connection, order_id, epoch, HELD, Some(goods)).await?;
                    held(connection, &goods.product_id).await
                }
                ReservePlan::AlreadyHeld => held(connection, &goods.product_id).await,
                ReservePlan::Stale => Ok(ReserveOutcome::Stale),
                ReservePlan::OtherGoods => Ok(ReserveOutcome::OtherGoods),
            }
        })
        .await
}

async fn take(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: i32,
    goods: &Goods,
    known: bool,
) -> Result<ReserveOutcome, DatabaseError> {
    let taken = diesel::update(inventory::table.find(&goods.product_id))
        .filter(inventory::stock.ge(goods.quantity))
        .set((
            inventory::stock.eq(inventory::stock - goods.quantity),
            inventory::reserved.eq(inventory::reserved + goods.quantity),
        ))
        .returning((inventory::stock, inventory::reserved))
        .get_result::<(i32, i32)>(connection)
        .await
        .optional()?;
    if let Some((stock, reserved)) = taken {
        if known {
            write(connection, order_id, epoch, HELD, Some(goods)).await?;
        } else {
            insert(connection, order_id, epoch, HELD, Some(goods)).await?;
        }
        return Ok(ReserveOutcome::Held { stock, reserved });
    }
    if known {
        write(connection, order_id, epoch, RELEASED, None).await?;
    }
    let exists = find(connection, &goods.product_id).await?.is_some();
    Ok(if exists { ReserveOutcome::InsufficientStock } else { ReserveOutcome::UnknownProduct })
}

async fn held(connection: &mut AsyncPgConnection, product_id: &str) -> Result<ReserveOutcome, DatabaseError> {
    let (stock, reserved) = inventory::table
        .find(product_id)
        .select((inventory::stock, inventory::reserved))
        .first::<(i32, i32)>(connection)
        .await?;
    Ok(ReserveOutcome::Held { stock, reserved })
}

/// Gives back what an order holds, and returns how much that was. Without an epoch: whatever it holds.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn release(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: Option<i32>,
) -> Result<i32, DatabaseError> {
    let attempt = try_release(connection, order_id, epoch).await;
    match attempt {
        Err(error) if error.violates("reservations_pkey") => try_release(connection, order_id, epoch).await,
        other => other,
    }
}

async fn try_release(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: Option<i32>,
) -> Result<i32, DatabaseError> {
    connection
        .transaction(async |connection| {
            let entry = lock(connection, order_id).await?;
            let epoch = epoch.or_else(|| entry.as_ref().map(|entry| entry.epoch)).unwrap_or(1);
            match ledger::release(entry.as_ref(), epoch) {
                ReleasePlan::Tombstone => insert(connection, order_id, epoch, RELEASED, None).await?,
                ReleasePlan::Stamp => write(connection, order_id, epoch, RELEASED, None).await?,
                ReleasePlan::Nothing => {}
                ReleasePlan::GiveBack => {
                    write(connection, order_id, epoch, RELEASED, None).await?;
                    let goods = entry.and_then(|entry| entry.goods);
                    return match goods {
                        Some(goods) => give_back(connection, &goods).await,
                        None => Ok(0),
                    };
                }
            }
            Ok(0)
        })
        .await
}

async fn give_back(connection: &mut AsyncPgConnection, goods: &Goods) -> Result<i32, DatabaseError> {
    diesel::update(inventory::table.find(&goods.product_id))
        .set((
            inventory::stock.eq(inventory::stock + goods.quantity),
            inventory::reserved.eq(inventory::reserved - goods.quantity),
        ))
        .execute(connection)
        .await?;
    Ok(goods.quantity)
}

/// The order's row, locked: messages about one order take their turns.
async fn lock(connection: &mut AsyncPgConnection, order_id: Uuid) -> Result<Option<Entry>, DatabaseError> {
    let row = reservations::table
        .find(order_id)
        .select(LedgerRow::as_select())
        .for_update()
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(LedgerRow::into_entry))
}

async fn insert(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: i32,
    state: &str,
    goods: Option<&Goods>,
) -> Result<(), DatabaseError> {
    let row = (
        reservations::order_id.eq(order_id),
        reservations::epoch.eq(epoch),
        reservations::state.eq(state),
        reservations::product_id.eq(goods.map(|goods| goods.product_id.as_str())),
        reservations::quantity.eq(goods.map(|goods| goods.quantity)),
    );
    diesel::insert_into(reservations::table).values(row).execute(connection).await?;
    Ok(())
}

/// Changes the order's row; goods that are not given stay as they are.
async fn write(
    connection: &mut AsyncPgConnection,
    order_id: Uuid,
    epoch: i32,
    state: &str,
    goods: Option<&Goods>,
) -> Result<(), DatabaseError> {
    let goods = goods.map(|goods| {
        (reservations::product_id.eq(&goods.product_id), reservations::quantity.eq(goods.quantity))
    });
    diesel::update(reservations::table.find(order_id))
        .set((
            reservations::epoch.eq(epoch),
            reservations::state.eq(state),
            reservations::updated_at.eq(diesel::dsl::now),
            goods,
        ))
        .execute(connection)
        .await?;
    Ok(())
}
