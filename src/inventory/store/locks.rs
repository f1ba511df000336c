//! Finds the requests that would have to wait for a lock of another session.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::inventory::schema::{inventory, reservations};
use crate::platform::db::{DatabaseError, run_and_roll_back};

/// The rows that a request needs.
pub struct RequestRows {
    pub order_id: Uuid,
    pub product_id: Option<String>,
}

/// [`find_locked`] for requests that name an order and no product.
///
/// # Errors
/// Those of the database.
pub async fn find_locked_orders(
    connection: &mut AsyncPgConnection,
    order_ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<bool>, DatabaseError> {
    let rows = order_ids.map(|order_id| RequestRows {
        order_id,
        product_id: None,
    });
    find_locked(connection, rows.collect()).await
}

/// Returns for each request whether another session has locked its order's row of the ledger, or
/// the product that the request names, or the one that the order holds. Changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn find_locked(
    connection: &mut AsyncPgConnection,
    requests: Vec<RequestRows>,
) -> Result<Vec<bool>, DatabaseError> {
    let order_ids: Vec<_> = requests.iter().map(|request| request.order_id).collect();
    let entries: HashMap<Uuid, Option<String>> = reservations::table
        .filter(reservations::order_id.eq_any(&order_ids))
        .select((reservations::order_id, reservations::product_id))
        .load(connection)
        .await?
        .into_iter()
        .collect();
    let products_of = |request: &RequestRows| {
        let held = entries.get(&request.order_id).cloned().flatten();
        [request.product_id.clone(), held].into_iter().flatten()
    };
    let product_ids: Vec<String> = requests.iter().flat_map(products_of).collect();
    let products: HashSet<String> = inventory::table
        .filter(inventory::product_id.eq_any(&product_ids))
        .select(inventory::product_id)
        .load(connection)
        .await?
        .into_iter()
        .collect();
    let free = run_and_roll_back(connection, async |connection| {
        lock_free_rows(connection, &order_ids, &product_ids).await
    });
    let (free_orders, free_products) = free.await?;
    let is_locked = |request: &RequestRows| {
        let order_id = &request.order_id;
        let has_locked_entry = entries.contains_key(order_id) && !free_orders.contains(order_id);
        let has_locked_product = products_of(request).any(|product_id| {
            products.contains(&product_id) && !free_products.contains(&product_id)
        });
        has_locked_entry || has_locked_product
    };
    Ok(requests.iter().map(is_locked).collect())
}

/// Locks the rows that no other session has locked, and returns their ids.
async fn lock_free_rows(
    connection: &mut AsyncPgConnection,
    order_ids: &[Uuid],
    product_ids: &[String],
) -> Result<(HashSet<Uuid>, HashSet<String>), DatabaseError> {
    let entries = reservations::table
        .filter(reservations::order_id.eq_any(order_ids))
        .order(reservations::order_id)
        .select(reservations::order_id)
        .for_update()
        .skip_locked();
    let products = inventory::table
        .filter(inventory::product_id.eq_any(product_ids))
        .order(inventory::product_id)
        .select(inventory::product_id)
        .for_update()
        .skip_locked();
    let free_orders: Vec<Uuid> = entries.load(connection).await?;
    let free_products: Vec<String> = products.load(connection).await?;
    Ok((
        free_orders.into_iter().collect(),
        free_products.into_iter().collect(),
    ))
}
