//! Ships what orders hold.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::FutureExt;

use super::ledger::{load_locked, save};
use super::locks::find_locked_orders;
use crate::inventory::requests::{ShipOutcome, ShipRequest};
use crate::platform::db::DatabaseError;
use crate::platform::db::batcher::{BatchSpec, Batcher};

/// Executes ships in batches.
pub type ShipBatcher = Batcher<ShipRequest, ShipOutcome>;

pub const SHIP: BatchSpec<ShipRequest, ShipOutcome> = BatchSpec {
    name: "ship",
    statement: "UPDATE inventory SET reserved = reserved - shipping, shipped = shipped + shipping",
    execute: |connection, requests| ship(connection, requests).boxed(),
    find_locked: Some(|connection, requests| {
        let order_ids = requests.iter().map(|request| request.order_id);
        find_locked_orders(connection, order_ids).boxed()
    }),
    min_time: Duration::ZERO,
};

/// Ships what each order holds, in one transaction. It inserts no row of the ledger: an order
/// without one holds nothing.
///
/// # Errors
/// Those of the database.
async fn ship(
    connection: &mut AsyncPgConnection,
    requests: &[ShipRequest],
) -> Result<Vec<ShipOutcome>, DatabaseError> {
    connection
        .transaction(async |connection| {
            let order_ids = requests.iter().map(|request| request.order_id).collect();
            let mut batch = load_locked(connection, order_ids, BTreeSet::new()).await?;
            let outcomes = requests
                .iter()
                .map(|request| batch.ship(*request))
                .collect();
            save(connection, &batch).await?;
            Ok(outcomes)
        })
        .await
}
