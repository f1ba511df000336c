//! The reader: polls the database for the listeners of this process.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::time::timeout;

use super::buffer::{Head, MAX_BUFFERED, Poll};
use super::entry::Entry;
use super::shared::Shared;
use crate::order::store;
use crate::platform::db::{self, DatabaseError};
use crate::platform::observability::incident_log::IncidentLog;

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Polls until there are no listeners or the feed is closed.
pub async fn read(shared: Arc<Shared>) {
    let incident = IncidentLog::new(
        "the live stream is interrupted: changes cannot be read",
        "the live stream continues",
    );
    while shared.begin_poll() {
        let head = shared.state().buffer.head().cloned();
        let outcome = shared
            .database
            .run(async |connection| poll(connection, head).await)
            .await;
        db::observe(&incident, &outcome);
        shared.end_poll(outcome);
        let _ = timeout(POLL_INTERVAL, shared.wake.notified()).await;
    }
}

/// Reads the changes after `head`. Without one, or with more changes than the buffer holds, starts
/// at the end of the database's changes.
async fn poll(
    connection: &mut AsyncPgConnection,
    head: Option<Head>,
) -> Result<Poll, DatabaseError> {
    let snapshot = store::current_snapshot(connection).await?;
    // A snapshot can be earlier than the position when it is of another server, such as a standby
    // that was promoted.
    if let Some(Head { mut position, .. }) = head
        && position.precedes(&snapshot)
    {
        let changes = store::changes(connection, &position, &snapshot, 0, MAX_BUFFERED + 1).await?;
        if changes.len() <= MAX_BUFFERED as usize {
            let entries = Entry::all_of(changes, &mut position, &snapshot);
            position.forget_ended(&snapshot);
            return Ok(Poll::Changes(Head { snapshot, position }, entries));
        }
    }
    let position = store::position_at(connection, &snapshot).await?;
    Ok(Poll::Gap(Head { snapshot, position }))
}
