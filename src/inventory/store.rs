//! Inventory's tables. The ledger's row and the stock move in one transaction, by guarded
//! statements, for all messages that wait together.
//!
//! Locks are always taken in one order: ledger rows by order, then products, then new ledger rows
//! by order. So no two batches, of this process or of another, ever wait for each other in a
//! circle.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use uuid::Uuid;

use super::ledger_batch::{Books, Release, ReleaseOutcome, Reserve, ReserveOutcome, Shelf};
use crate::domain::ledger::{Entry, Goods, Hold};
use crate::platform::db::batcher::BatchSpec;
use crate::platform::db::unnest_query::{Given, Statement, array};
use crate::platform::db::{DatabaseError, rolled_back};
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
    order_id: Uuid,
    epoch: i32,
    state: String,
    product_id: Option<String>,
    quantity: Option<i32>,
}

impl LedgerRow {
    fn into_entry(self) -> (Uuid, Entry) {
        let goods = self.product_id.zip(self.quantity);
        let entry = Entry {
            epoch: self.epoch,
            hold: match self.state.as_str() {
                HELD => Hold::Held,
                RELEASED => Hold::Released,
                _ => Hold::Unrecognized,
            },
            goods: goods.map(|(product_id, quantity)| Goods {
                product_id,
                quantity,
            }),
        };
        (self.order_id, entry)
    }
}

const HELD: &str = "HELD";
const RELEASED: &str = "RELEASED";

/// # Errors
/// Those of the database.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<StockRow>, DatabaseError> {
    Ok(inventory::table
        .order(inventory::product_id)
        .select(StockRow::as_select())
        .load(connection)
        .await?)
}

/// # Errors
/// Those of the database.
pub async fn find(
    connection: &mut AsyncPgConnection,
    product_id: &str,
) -> Result<Option<StockRow>, DatabaseError> {
    Ok(inventory::table
        .find(product_id)
        .select(StockRow::as_select())
        .first(connection)
        .await
        .optional()?)
}

/// Takes stock for orders that the ledger has never heard of, where each product has enough for all
/// that ask for it: the usual case, in one statement and one commit. Returns those, with their
/// product's figures from before.
struct TakeNew;

impl Statement for TakeNew {
    const COLUMNS: &'static str = "order_id, epoch, product_id, quantity";
    // Whichever join is planned, the products come in order: from `demand`, or from the index (no
    // bitmaps are used, see platform/database.rs). `held` reads `taken` whole before it writes:
    // every product is locked by then.
    const TEXT: &'static str = ",
        fresh AS (
            SELECT * FROM given
            WHERE order_id <> ALL (ARRAY (SELECT order_id FROM reservations WHERE order_id = ANY ($1)))),
        demand AS (SELECT product_id, sum(quantity)::int AS wanted FROM fresh GROUP BY product_id ORDER BY product_id),
        taken AS (
            UPDATE inventory i SET stock = i.stock - wanted, reserved = i.reserved + wanted FROM demand
            WHERE i.product_id = demand.product_id AND i.stock >= wanted AND i.product_id = ANY ($3)
            RETURNING i.product_id, i.stock + wanted AS stock, i.reserved - wanted AS reserved),
        held AS (
            INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
            SELECT order_id, epoch, 'HELD', product_id, quantity FROM fresh
            WHERE product_id = ANY (ARRAY (SELECT product_id FROM taken)) ORDER BY order_id)
        SELECT order_id, stock, reserved FROM fresh JOIN taken USING (product_id)";
    type Returns = (SqlUuid, Integer, Integer);
}

/// Shows whether the ledger has heard of an order, and its product's stock.
struct Look;

impl Statement for Look {
    const COLUMNS: &'static str = "order_id, product_id";
    const TEXT: &'static str = "
        SELECT order_id, product_id, r.order_id IS NOT NULL, i.stock
        FROM given
        LEFT JOIN (SELECT order_id FROM reservations WHERE order_id = ANY ($1)) r USING (order_id)
        LEFT JOIN (SELECT product_id, stock FROM inventory WHERE product_id = ANY ($2)) i USING (product_id)";
    type Returns = (SqlUuid, Varchar, Bool, Nullable<Integer>);
}

pub const RESERVE: BatchSpec<Reserve, ReserveOutcome> = BatchSpec {
    name: "reserve",
    // As each of its orders sees it.
    statement: "UPDATE inventory SET stock = stock - wanted, reserved = reserved + wanted WHERE stock >= wanted",
    execute: |connection, messages| reserve(connection, messages).boxed(),
    find_locked: Some(|connection, messages| {
        async {
            let orders: Vec<_> = messages.iter().map(|message| message.order_id).collect();
            let products = messages
                .iter()
                .map(|message| Some(message.goods.product_id.clone()))
                .collect();
            locked(connection, &orders, products).await
        }
        .boxed()
    }),
    min_time: Duration::ZERO,
};

pub const RELEASE: BatchSpec<Release, ReleaseOutcome> = BatchSpec {
    name: "release",
    statement: "UPDATE reservations SET epoch = given.epoch, state = given.state FROM given",
    execute: |connection, messages| release(connection, messages).boxed(),
    find_locked: Some(|connection, messages| {
        async {
            let orders: Vec<_> = messages.iter().map(|message| message.order_id).collect();
            locked(connection, &orders, vec![None; messages.len()]).await
        }
        .boxed()
    }),
    min_time: Duration::ZERO,
};

/// Tells for each order whether another session has locked its row of the ledger, or the product
/// that it names or holds.
async fn locked(
    connection: &mut AsyncPgConnection,
    order_ids: &[Uuid],
    product_ids: Vec<Option<String>>,
) -> Result<Vec<bool>, DatabaseError> {
    let entries = || reservations::table.filter(reservations::order_id.eq_any(order_ids));
    let held: HashMap<Uuid, Option<String>> = entries()
        .select((reservations::order_id, reservations::product_id))
        .load(connection)
        .await?
        .into_iter()
        .collect();
    let needs: Vec<[Option<String>; 2]> = order_ids
        .iter()
        .zip(product_ids)
        .map(|(order_id, product_id)| [product_id, held.get(order_id).cloned().flatten()])
        .collect();
    let products = || {
        let named = inventory::product_id.eq_any(needs.iter().flatten().flatten());
        inventory::table.filter(named).select(inventory::product_id)
    };
    let all: HashSet<String> = products().load(connection).await?.into_iter().collect();
    let free = rolled_back(connection, async |connection| {
        let entries = entries()
            .order(reservations::order_id)
            .select(reservations::order_id);
        let products = products().order(inventory::product_id);
        Ok((
            entries
                .for_update()
                .skip_locked()
                .load::<Uuid>(connection)
                .await?,
            products
                .for_update()
                .skip_locked()
                .load::<String>(connection)
                .await?,
        ))
    });
    let (free_entries, free_products) = free.await?;
    let is_locked = |(order_id, needs): (&Uuid, &[Option<String>; 2])| {
        let needs_locked_product = needs
            .iter()
            .flatten()
            .any(|product| all.contains(product) && !free_products.contains(product));
        needs_locked_product || (held.contains_key(order_id) && !free_entries.contains(order_id))
    };
    Ok(order_ids.iter().zip(&needs).map(is_locked).collect())
}

/// Reserves goods for orders, by the rules of the ledger: all at once where there is enough;
/// without those who must be turned away, where there is not; and what is left, message by message.
///
/// # Errors
/// Those of the database; a reserve that was carried out all the same is found when it is asked for
/// again.
pub async fn reserve(
    connection: &mut AsyncPgConnection,
    messages: &[Reserve],
) -> Result<Vec<ReserveOutcome>, DatabaseError> {
    let mut outcomes = vec![None; messages.len()];
    loop {
        let left = without_outcome(messages, &outcomes);
        match take_new(connection, &left).await {
            // A first message arrived twice at once, and the other one was faster: its row is there
            // now.
            Err(error) if error.violates("reservations_pkey") => {}
            taken => fill(&mut outcomes, taken?),
        }
        let left = without_outcome(messages, &outcomes);
        if left.is_empty() {
            break;
        }
        let turned_away = turn_away(connection, &left).await?;
        if turned_away.iter().all(Option::is_none) {
            fill(
                &mut outcomes,
                by_the_books(connection, &left).await?.into_iter().map(Some),
            );
            break;
        }
        // Without those who want more than there is, there may be enough for all.
        fill(&mut outcomes, turned_away);
        if !outcomes.contains(&None) {
            break;
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

fn without_outcome<'a>(
    messages: &'a [Reserve],
    outcomes: &[Option<ReserveOutcome>],
) -> Vec<&'a Reserve> {
    messages
        .iter()
        .zip(outcomes)
        .filter_map(|(message, outcome)| outcome.is_none().then_some(message))
        .collect()
}

/// Puts what came of those that had no outcome in their places.
fn fill(
    outcomes: &mut [Option<ReserveOutcome>],
    left: impl IntoIterator<Item = Option<ReserveOutcome>>,
) {
    let places = outcomes.iter_mut().filter(|outcome| outcome.is_none());
    places
        .zip(left)
        .for_each(|(place, outcome)| *place = outcome);
}

/// Nothing for those that the statement left alone.
async fn take_new(
    connection: &mut AsyncPgConnection,
    messages: &[&Reserve],
) -> Result<Vec<Option<ReserveOutcome>>, DatabaseError> {
    // An order's second message of a batch is no first one.
    let mut orders = HashMap::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        orders.entry(message.order_id).or_insert(index);
    }
    let firsts: Vec<_> = orders.values().map(|index| messages[*index]).collect();
    let rows: Vec<(Uuid, i32, i32)> = Given::<TakeNew, _>::new((
        array::<SqlUuid, _>(firsts.iter().map(|message| message.order_id).collect()),
        array::<Integer, _>(firsts.iter().map(|message| message.epoch).collect()),
        array::<Varchar, _>(
            firsts
                .iter()
                .map(|message| message.goods.product_id.as_str())
                .collect(),
        ),
        array::<Integer, _>(
            firsts
                .iter()
                .map(|message| message.goods.quantity)
                .collect(),
        ),
    ))
    .load(connection)
    .await?;
    let taken = rows.into_iter().filter_map(|(order_id, stock, reserved)| {
        Some((*orders.get(&order_id)?, Shelf::new(stock, reserved)))
    });
    let taken: HashMap<_, _> = taken.collect();
    // As if one had come after the other.
    let mut shelves: HashMap<String, Shelf> = HashMap::new();
    let outcome = |(index, message): (usize, &&Reserve)| {
        let before = taken.get(&index)?;
        let shelf = shelves
            .entry(message.goods.product_id.clone())
            .or_insert(*before);
        shelf.take(message.goods.quantity);
        Some(shelf.held())
    };
    Ok(messages.iter().enumerate().map(outcome).collect())
}

/// Answers those whose product is unknown, or has less than they want, without a lock or a write:
/// for an order without a row nothing is to be written, and the answer was true when this was read.
/// Nothing for the others.
async fn turn_away(
    connection: &mut AsyncPgConnection,
    messages: &[&Reserve],
) -> Result<Vec<Option<ReserveOutcome>>, DatabaseError> {
    let rows: Vec<(Uuid, String, bool, Option<i32>)> = Given::<Look, _>::new((
        array::<SqlUuid, _>(messages.iter().map(|message| message.order_id).collect()),
        array::<Varchar, _>(
            messages
                .iter()
                .map(|message| message.goods.product_id.as_str())
                .collect(),
        ),
    ))
    .load(connection)
    .await?;
    let rows: HashMap<_, _> = rows
        .into_iter()
        .map(|(order_id, product_id, known, stock)| ((order_id, product_id), (known, stock)))
        .collect();
    let outcome = |message: &&Reserve| {
        let (known, stock) = *rows.get(&(message.order_id, message.goods.product_id.clone()))?;
        match stock {
            _ if known => None,
            None => Some(ReserveOutcome::UnknownProduct),
            Some(stock) => {
                (stock < message.goods.quantity).then_some(ReserveOutcome::InsufficientStock)
            }
        }
    };
    Ok(messages.iter().map(outcome).collect())
}

async fn by_the_books(
    connection: &mut AsyncPgConnection,
    messages: &[&Reserve],
) -> Result<Vec<ReserveOutcome>, DatabaseError> {
    match try_by_the_books(connection, messages).await {
        // As above, and now the row is there.
        Err(error) if error.violates("reservations_pkey") => {
            try_by_the_books(connection, messages).await
        }
        other => other,
    }
}

async fn try_by_the_books(
    connection: &mut AsyncPgConnection,
    messages: &[&Reserve],
) -> Result<Vec<ReserveOutcome>, DatabaseError> {
    connection
        .transaction(async |connection| {
            let orders = messages.iter().map(|message| message.order_id).collect();
            let products = messages
                .iter()
                .map(|message| message.goods.product_id.clone())
                .collect();
            let mut books = open(connection, orders, products).await?;
            let outcomes = messages
                .iter()
                .map(|message| books.reserve(message))
                .collect();
            close(connection, &books).await?;
            Ok(outcomes)
        })
        .await
}

/// Gives back what orders hold, and returns how much that was for each.
///
/// # Errors
/// Those of the database; then nothing was changed.
pub async fn release(
    connection: &mut AsyncPgConnection,
    messages: &[Release],
) -> Result<Vec<ReleaseOutcome>, DatabaseError> {
    match release_by_the_books(connection, messages).await {
        Err(error) if error.violates("reservations_pkey") => {
            release_by_the_books(connection, messages).await
        }
        other => other,
    }
}

async fn release_by_the_books(
    connection: &mut AsyncPgConnection,
    messages: &[Release],
) -> Result<Vec<ReleaseOutcome>, DatabaseError> {
    connection
        .transaction(async |connection| {
            let orders = messages.iter().map(|message| message.order_id).collect();
            let mut books = open(connection, orders, BTreeSet::new()).await?;
            let released = messages
                .iter()
                .map(|message| books.release(*message))
                .collect();
            close(connection, &books).await?;
            Ok(released)
        })
        .await
}

/// Reads the rows of these orders, and of all products they are about, and locks them: messages
/// about one order or product take their turns.
async fn open(
    connection: &mut AsyncPgConnection,
    order_ids: Vec<Uuid>,
    mut product_ids: BTreeSet<String>,
) -> Result<Books, DatabaseError> {
    let rows = reservations::table
        .filter(reservations::order_id.eq_any(order_ids))
        .order(reservations::order_id)
        .select(LedgerRow::as_select())
        .for_update()
        .load(connection)
        .await?;
    let entries: Vec<_> = rows.into_iter().map(LedgerRow::into_entry).collect();
    let known = entries
        .iter()
        .filter_map(|(_, entry)| Some(entry.goods.as_ref()?.product_id.clone()));
    product_ids.extend(known);
    if product_ids.is_empty() {
        return Ok(Books::new(entries, []));
    }
    let shelves = inventory::table
        .filter(inventory::product_id.eq_any(product_ids.into_iter().collect::<Vec<_>>()))
        .order(inventory::product_id)
        .select((inventory::product_id, inventory::stock, inventory::reserved))
        .for_update()
        .load::<(String, i32, i32)>(connection)
        .await?;
    let shelf = |(product_id, stock, reserved)| (product_id, Shelf::new(stock, reserved));
    Ok(Books::new(entries, shelves.into_iter().map(shelf)))
}

/// Writes what has changed in the ledger; a new row that is there already violates the key, and
/// nothing is changed.
struct WriteLedger;

impl Statement for WriteLedger {
    const COLUMNS: &'static str = "order_id, epoch, state, product_id, quantity, is_new";
    const TEXT: &'static str = ",
        added AS (
            INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
            SELECT order_id, epoch, state, product_id, quantity FROM given WHERE is_new ORDER BY order_id)
        UPDATE reservations r SET epoch = given.epoch, state = given.state, updated_at = now(),
            product_id = given.product_id, quantity = given.quantity
        FROM given WHERE NOT is_new AND r.order_id = given.order_id
            AND r.order_id = ANY ($1)";
    type Returns = ();
}

/// Moves the stock. Locked rows were read, so that each product has what is taken; the guard says
/// it once more.
struct MoveStock;

impl Statement for MoveStock {
    const COLUMNS: &'static str = "product_id, taken";
    const TEXT: &'static str = "
        UPDATE inventory i SET stock = stock - taken, reserved = reserved + taken
        FROM given WHERE i.product_id = given.product_id AND i.stock >= taken
            AND i.product_id = ANY ($1)";
    type Returns = ();
}

async fn close(connection: &mut AsyncPgConnection, books: &Books) -> Result<(), DatabaseError> {
    let rows: Vec<_> = books.written().collect();
    let taken: Vec<_> = books.taken().collect();
    if !taken.is_empty() {
        let moved = Given::<MoveStock, _>::new((
            array::<Varchar, _>(taken.iter().map(|(product_id, _)| *product_id).collect()),
            array::<Integer, _>(taken.iter().map(|(_, taken)| *taken).collect()),
        ))
        .execute(connection)
        .await?;
        if moved != taken.len() {
            // Rolls everything back.
            return Err(diesel::result::Error::RollbackTransaction.into());
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    // A row in a state that this release does not know is never written.
    let state = |hold| if hold == Hold::Held { HELD } else { RELEASED };
    let goods = rows.iter().map(|row| row.entry.goods.as_ref());
    Given::<WriteLedger, _>::new((
        array::<SqlUuid, _>(rows.iter().map(|row| row.order_id).collect()),
        array::<Integer, _>(rows.iter().map(|row| row.entry.epoch).collect()),
        array::<Varchar, _>(rows.iter().map(|row| state(row.entry.hold)).collect()),
        array::<Nullable<Varchar>, _>(
            goods
                .clone()
                .map(|goods| Some(goods?.product_id.as_str()))
                .collect(),
        ),
        array::<Nullable<Integer>, _>(goods.map(|goods| Some(goods?.quantity)).collect()),
        array::<Bool, _>(rows.iter().map(|row| row.new).collect()),
    ))
    .execute(connection)
    .await?;
    Ok(())
}
