//! Releases what orders hold.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::FutureExt;

use super::ledger::{is_duplicate, load_locked, save};
use super::locks::find_locked_orders;
use crate::inventory::requests::{ReleaseOutcome, ReleaseRequest};
use crate::platform::db::DatabaseError;
use crate::platform::db::batcher::{BatchSpec, Batcher};

/// Executes releases in batches.
pub type ReleaseBatcher = Batcher<ReleaseRequest, ReleaseOutcome>;

pub const RELEASE: BatchSpec<ReleaseRequest, ReleaseOutcome> = BatchSpec {
    name: "release",
    statement: "UPDATE reservations SET epoch = input.epoch, state = input.state FROM input",
    execute: |connection, requests| release(connection, requests).boxed(),
    find_locked: Some(|connection, requests| {
        let order_ids = requests.iter().map(|request| request.order_id);
        find_locked_orders(connection, order_ids).boxed()
    }),
    min_time: Duration::ZERO,
};

/// Gives back what each order holds, in one transaction.
///
/// # Errors
/// Those of the database.
async fn release(
    connection: &mut AsyncPgConnection,
    requests: &[ReleaseRequest],
) -> Result<Vec<ReleaseOutcome>, DatabaseError> {
    match release_under_locks(connection, requests).await {
        // Another session inserted a row of one of these orders in the meantime. It is found now.
        Err(error) if is_duplicate(&error) => release_under_locks(connection, requests).await,
        other => other,
    }
}

async fn release_under_locks(
    connection: &mut AsyncPgConnection,
    requests: &[ReleaseRequest],
) -> Result<Vec<ReleaseOutcome>, DatabaseError> {
    connection
        .transaction(async |connection| {
            let order_ids = requests.iter().map(|request| request.order_id).collect();
            let mut batch = load_locked(connection, order_ids, BTreeSet::new()).await?;
            let outcomes = requests
                .iter()
                .map(|request| batch.release(*request))
                .collect();
            save(connection, &batch).await?;
            Ok(outcomes)
        })
        .await
}
