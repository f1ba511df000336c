//! Reserves goods for orders: with one statement where it can, under locks where it must.
//!
//! A reserve goes through up to three steps, and ends with the first that decides it. Each step is
//! a batcher of its own, whose batches are one transaction. So an error of a step is about a
//! request that no step has decided, and for which no earlier step has changed anything.

use std::collections::HashMap;
use std::time::Duration;

use diesel::sql_types::{Bool, Integer, Nullable, Uuid as SqlUuid, Varchar};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use uuid::Uuid;

use super::ledger::{is_duplicate, load_locked, save};
use super::locks::{RequestRows, find_locked};
use crate::inventory::requests::{ReserveOutcome, ReserveRequest};
use crate::inventory::stock_level::StockLevel;
use crate::platform::db::batcher::{BatchFuture, BatchSpec, Batcher};
use crate::platform::db::unnest_query::{BatchStatement, UnnestQuery, array};
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;

/// Executes reserves in batches, by the rules of the ledger.
///
/// The usual reserve takes one statement and one commit, which it shares with others: its order is
/// new, and there is enough stock.
pub struct ReserveBatcher {
    new_orders: Batcher<ReserveRequest, Option<ReserveOutcome>>,
    availability: Batcher<ReserveRequest, Option<ReserveOutcome>>,
    under_locks: Batcher<ReserveRequest, ReserveOutcome>,
}

impl ReserveBatcher {
    /// Starts the batchers of the current thread, to which the pool of `database` must belong.
    #[must_use]
    pub fn start(database: &Database) -> Self {
        Self {
            new_orders: Batcher::start(database, NEW_ORDERS),
            availability: Batcher::start(database, AVAILABILITY),
            under_locks: Batcher::start(database, UNDER_LOCKS),
        }
    }

    /// Reserves goods for an order, until the deadline, or within [`WORK_TIMEOUT`].
    ///
    /// # Errors
    /// Those of [`Batcher::submit`]. The order then holds what it held before, unless
    /// [`DatabaseError::is_outcome_unknown`].
    pub async fn submit(
        &self,
        request: ReserveRequest,
        deadline: Deadline,
    ) -> Result<ReserveOutcome, DatabaseError> {
        // All steps together take no longer than one batch may.
        let deadline = deadline.min(Deadline::after(WORK_TIMEOUT));
        for step in [&self.new_orders, &self.availability] {
            if let Some(outcome) = step.submit(request.clone(), deadline).await? {
                return Ok(outcome);
            }
        }
        self.under_locks.submit(request, deadline).await
    }
}

/// Reserves for new orders whose product has enough for all of them in the batch. Decides no other
/// request.
const NEW_ORDERS: BatchSpec<ReserveRequest, Option<ReserveOutcome>> = BatchSpec {
    name: "reserve",
    // The part of `ReserveNewOrders` that an order's trace shows.
    statement: "UPDATE inventory SET stock = stock - wanted, reserved = reserved + wanted \
                WHERE stock >= wanted",
    execute: |connection, requests| reserve_new_orders(connection, requests).boxed(),
    find_locked: Some(find_locked_rows),
    min_time: Duration::ZERO,
};

/// Rejects new orders whose product is unknown or has too little. Decides no other request.
const AVAILABILITY: BatchSpec<ReserveRequest, Option<ReserveOutcome>> = BatchSpec {
    name: "find-availability",
    statement: "SELECT stock FROM inventory",
    execute: |connection, requests| reject_unavailable(connection, requests).boxed(),
    find_locked: None,
    min_time: Duration::ZERO,
};

/// Decides every request.
const UNDER_LOCKS: BatchSpec<ReserveRequest, ReserveOutcome> = BatchSpec {
    name: "reserve-under-locks",
    statement: "UPDATE reservations SET epoch = input.epoch, state = input.state FROM input",
    execute: |connection, requests| reserve_under_locks(connection, requests).boxed(),
    find_locked: Some(find_locked_rows),
    min_time: Duration::ZERO,
};

fn find_locked_rows<'a>(
    connection: &'a mut AsyncPgConnection,
    requests: &'a [ReserveRequest],
) -> BatchFuture<'a, bool> {
    let rows = requests.iter().map(|request| RequestRows {
        order_id: request.order_id,
        product_id: Some(request.goods.product_id.clone()),
    });
    find_locked(connection, rows.collect()).boxed()
}

/// Reserves goods for orders without a row in the ledger, of each product that has enough for all
/// of them. Returns these orders, with the stock of their product before.
struct ReserveNewOrders;

impl BatchStatement for ReserveNewOrders {
    const COLUMNS: &'static str = "order_id, epoch, product_id, quantity";
    // Products are locked in the order of their ids, whichever join is planned: that order comes
    // from `demand`, or from the index (bitmap scans are off, see
    // src/platform/db/connection_manager.rs). `held` reads `taken` whole before it inserts: every
    // product is locked by then.
    const TEXT: &'static str = ",
        fresh AS (
            SELECT * FROM input
            WHERE order_id <> ALL (ARRAY (
                SELECT order_id FROM reservations WHERE order_id = ANY ($1)))),
        demand AS (
            SELECT product_id, sum(quantity)::int AS wanted FROM fresh
            GROUP BY product_id ORDER BY product_id),
        taken AS (
            UPDATE inventory i SET stock = i.stock - wanted, reserved = i.reserved + wanted
            FROM demand
            WHERE i.product_id = demand.product_id AND i.stock >= wanted
                AND i.product_id = ANY ($3)
            RETURNING i.product_id, i.stock + wanted AS stock, i.reserved - wanted AS reserved),
        held AS (
            INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
            SELECT order_id, epoch, 'HELD', product_id, quantity FROM fresh
            WHERE product_id = ANY (ARRAY (SELECT product_id FROM taken)) ORDER BY order_id)
        SELECT order_id, stock, reserved FROM fresh JOIN taken USING (product_id)";
    type Returns = (SqlUuid, Integer, Integer);
}

/// Returns `None` for each request that it leaves undecided, and changes nothing for it.
async fn reserve_new_orders(
    connection: &mut AsyncPgConnection,
    requests: &[ReserveRequest],
) -> Result<Vec<Option<ReserveOutcome>>, DatabaseError> {
    match try_reserve_new_orders(connection, requests).await {
        // Another session inserted a row of one of these orders in the meantime, and the statement
        // changed nothing. The order is not new any more.
        Err(error) if is_duplicate(&error) => Ok(vec![None; requests.len()]),
        other => other,
    }
}

async fn try_reserve_new_orders(
    connection: &mut AsyncPgConnection,
    requests: &[ReserveRequest],
) -> Result<Vec<Option<ReserveOutcome>>, DatabaseError> {
    // A batch can have two requests for one order. The second is not for a new order.
    let mut firsts = HashMap::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        firsts.entry(request.order_id).or_insert(index);
    }
    let rows: Vec<_> = firsts.values().map(|index| &requests[*index]).collect();
    let goods = || rows.iter().map(|request| &request.goods);
    let product_ids = goods().map(|goods| goods.product_id.as_str());
    let reserved: Vec<(Uuid, i32, i32)> = UnnestQuery::<ReserveNewOrders, _>::new((
        array::<SqlUuid, _>(rows.iter().map(|request| request.order_id).collect()),
        array::<Integer, _>(rows.iter().map(|request| request.epoch).collect()),
        array::<Varchar, _>(product_ids.collect()),
        array::<Integer, _>(goods().map(|goods| goods.quantity).collect()),
    ))
    .load(connection)
    .await?;
    let levels_before = reserved
        .into_iter()
        .filter_map(|(order_id, stock, reserved)| {
            Some((*firsts.get(&order_id)?, StockLevel { stock, reserved }))
        });
    Ok(outcomes_in_turn(requests, &levels_before.collect()))
}

/// The outcomes of requests that one statement has executed, as if it had executed them one after
/// the other. `levels_before` has the stock before the statement, by index of the request.
fn outcomes_in_turn(
    requests: &[ReserveRequest],
    levels_before: &HashMap<usize, StockLevel>,
) -> Vec<Option<ReserveOutcome>> {
    let mut levels: HashMap<&str, StockLevel> = HashMap::new();
    let outcomes = requests.iter().enumerate().map(|(index, request)| {
        let before = levels_before.get(&index)?;
        let level = levels.entry(&request.goods.product_id).or_insert(*before);
        level.move_to_reserved(request.goods.quantity);
        Some(level.held())
    });
    outcomes.collect()
}

/// Reads whether the ledger has a row of each order, and the stock of each product.
struct FindAvailability;

impl BatchStatement for FindAvailability {
    const COLUMNS: &'static str = "order_id, product_id";
    const TEXT: &'static str = "
        SELECT order_id, product_id, r.order_id IS NOT NULL, i.stock
        FROM input
        LEFT JOIN (SELECT order_id FROM reservations WHERE order_id = ANY ($1)) r USING (order_id)
        LEFT JOIN (SELECT product_id, stock FROM inventory WHERE product_id = ANY ($2)) i
            USING (product_id)";
    type Returns = (SqlUuid, Varchar, Bool, Nullable<Integer>);
}

/// Rejects requests for a new order whose product is unknown, or has less than they ask for.
/// Returns `None` for each other request.
///
/// It takes no lock and writes nothing. That is safe: a rejected new order gets no row in the
/// ledger, and the answer was true when the stock was read.
async fn reject_unavailable(
    connection: &mut AsyncPgConnection,
    requests: &[ReserveRequest],
) -> Result<Vec<Option<ReserveOutcome>>, DatabaseError> {
    let product_ids = requests
        .iter()
        .map(|request| request.goods.product_id.as_str());
    let rows: Vec<(Uuid, String, bool, Option<i32>)> = UnnestQuery::<FindAvailability, _>::new((
        array::<SqlUuid, _>(requests.iter().map(|request| request.order_id).collect()),
        array::<Varchar, _>(product_ids.collect()),
    ))
    .load(connection)
    .await?;
    let rows: HashMap<_, _> = rows
        .into_iter()
        .map(|(order_id, product_id, has_entry, stock)| {
            ((order_id, product_id), (has_entry, stock))
        })
        .collect();
    let outcome = |request: &ReserveRequest| {
        let key = (request.order_id, request.goods.product_id.clone());
        match *rows.get(&key)? {
            (false, None) => Some(ReserveOutcome::UnknownProduct),
            (false, Some(stock)) if stock < request.goods.quantity => {
                Some(ReserveOutcome::InsufficientStock)
            }
            _ => None,
        }
    };
    Ok(requests.iter().map(outcome).collect())
}

/// Decides every request, in one transaction that locks all rows it reads.
async fn reserve_under_locks(
    connection: &mut AsyncPgConnection,
    requests: &[ReserveRequest],
) -> Result<Vec<ReserveOutcome>, DatabaseError> {
    match try_reserve_under_locks(connection, requests).await {
        // Another session inserted a row of one of these orders in the meantime. It is found now.
        Err(error) if is_duplicate(&error) => try_reserve_under_locks(connection, requests).await,
        other => other,
    }
}

async fn try_reserve_under_locks(
    connection: &mut AsyncPgConnection,
    requests: &[ReserveRequest],
) -> Result<Vec<ReserveOutcome>, DatabaseError> {
    connection
        .transaction(async |connection| {
            let order_ids = requests.iter().map(|request| request.order_id).collect();
            let product_ids = requests
                .iter()
                .map(|request| request.goods.product_id.clone())
                .collect();
            let mut batch = load_locked(connection, order_ids, product_ids).await?;
            let outcomes = requests
                .iter()
                .map(|request| batch.reserve(request))
                .collect();
            save(connection, &batch).await?;
            Ok(outcomes)
        })
        .await
}
