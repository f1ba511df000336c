//! Finds the requests that would have to wait for a lock of another session.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::inventory::schema::{inventory, reservations};
use crate::platform::db::{DatabaseError, rolled_back};

/// The rows that a request names.
pub struct NamedRows {
    pub order_id: Uuid,
    pub product_id: Option<String>,
}

/// Tells for each request whether another session has locked its order's row of the ledger, or the
/// product that the request names, or the one that the order holds. Changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn find_locked(
    connection: &mut AsyncPgConnection,
    requests: Vec<NamedRows>,
) -> Result<Vec<bool>, DatabaseError> {
    let order_ids: Vec<_> = requests.iter().map(|request| request.order_id).collect();
    let entries = || reservations::table.filter(reservations::order_id.eq_any(&order_ids));
    let held: HashMap<Uuid, Option<String>> = entries()
        .select((reservations::order_id, reservations::product_id))
        .load(connection)
        .await?
        .into_iter()
        .collect();
    let held_product = |order_id: &Uuid| held.get(order_id).cloned().flatten();
    let needs: Vec<(Uuid, [Option<String>; 2])> = requests
        .into_iter()
        .map(
            |NamedRows {
                 order_id,
                 product_id,
             }| (order_id, [product_id, held_product(&order_id)]),
        )
        .collect();
    let product_ids = needs
        .iter()
        .flat_map(|(_, product_ids)| product_ids.iter().flatten());
    let products = || {
        let named = inventory::product_id.eq_any(product_ids.clone());
        inventory::table.filter(named).select(inventory::product_id)
    };
    let all: HashSet<String> = products().load(connection).await?.into_iter().collect();
    // The lock of a row that is skipped here belongs to another session.
    let free = rolled_back(connection, async |connection| {
        let entries = entries()
            .order(reservations::order_id)
            .select(reservations::order_id)
            .for_update()
            .skip_locked();
        let products = products()
            .order(inventory::product_id)
            .for_update()
            .skip_locked();
        Ok((
            entries.load::<Uuid>(connection).await?,
            products.load::<String>(connection).await?,
        ))
    });
    let (free_entries, free_products) = free.await?;
    let is_locked = |(order_id, product_ids): &(Uuid, [Option<String>; 2])| {
        let has_locked_entry = held.contains_key(order_id) && !free_entries.contains(order_id);
        let has_locked_product = product_ids
            .iter()
            .flatten()
            .any(|product_id| all.contains(product_id) && !free_products.contains(product_id));
        has_locked_entry || has_locked_product
    };
    Ok(needs.iter().map(is_locked).collect())
}
