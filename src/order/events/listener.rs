//! A listener of the live stream.

use std::sync::Arc;

use actix_web::web::Bytes;
use tokio::sync::watch;

use super::buffer::{Head, MAX_PAGE};
use super::entry::Entry;
use super::shared::Shared;
use crate::order::store::{self, Position, Snapshot};
use crate::platform::db::{Database, DatabaseError};
use crate::platform::http::problem::Problem;

/// Changes that a listener can have missed. With more, it must read the list of orders again.
const MAX_REPLAYED: u32 = 10_000;

/// A message to a listener.
#[derive(Debug)]
pub enum Message {
    /// Server-sent events, one for each change.
    Changes(Bytes),
    /// The listener has missed changes and will not get them. It continues from this position.
    Reset(Position),
}

/// Counted by the feed until it is dropped.
pub struct Listener {
    shared: Arc<Shared>,
    /// For what the listener reads itself.
    database: Database,
    /// The changes that it has been sent.
    position: Position,
    /// The number of the buffer's entry that it gets next.
    next_entry: u64,
    /// While set, it reads from the database what this snapshot sees.
    replay: Option<Snapshot>,
    must_reset: bool,
    is_open: watch::Receiver<bool>,
}

impl Listener {
    pub fn new(shared: Arc<Shared>, database: Database) -> Self {
        let is_open = shared.is_open.subscribe();
        Self {
            shared,
            database,
            position: Position::default(),
            next_entry: 0,
            replay: None,
            must_reset: false,
            is_open,
        }
    }

    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Waits for the next message; `None` when the stream ends. A caller that stops waiting loses
    /// no message.
    pub async fn next(&mut self) -> Option<Message> {
        while *self.is_open.borrow_and_update() {
            if std::mem::take(&mut self.must_reset) {
                return Some(Message::Reset(self.position.clone()));
            }
            let entries = self.next_entries().await.inspect_err(
                |error| tracing::warn!(%error, "a live stream ends: missed changes cannot be read"),
            );
            let entries = entries.ok()?;
            if let Some(last) = entries.last() {
                self.position = last.position.clone();
                let events: Option<Vec<&str>> =
                    entries.iter().map(|entry| entry.event.as_deref()).collect();
                return events.map(|events| Message::Changes(events.concat().into()));
            }
        }
        None
    }

    /// The next entries. An empty list does not end the stream: there can be entries after the next
    /// poll, or the next call reads them.
    async fn next_entries(&mut self) -> Result<Vec<Arc<Entry>>, DatabaseError> {
        if let Some(snapshot) = self.replay.clone() {
            return self.replay_page(&snapshot).await;
        }
        let Some(entries) = self.shared.page(self.next_entry) else {
            self.catch_up_again().await?;
            return Ok(Vec::new());
        };
        if entries.is_empty() {
            // The sender lives as long as `shared`, so this cannot fail.
            let _ = self.is_open.changed().await;
        }
        self.next_entry += entries.len() as u64;
        Ok(entries)
    }

    /// A page of what the snapshot sees and the listener has missed. The last page ends the replay.
    async fn replay_page(&mut self, snapshot: &Snapshot) -> Result<Vec<Arc<Entry>>, DatabaseError> {
        let mut position = self.position.clone();
        let read = async |connection: &mut _| {
            store::changes(connection, &position, snapshot, 0, MAX_PAGE).await
        };
        let changes = self.database.run(read).await?;
        if changes.len() < MAX_PAGE as usize {
            self.replay = None;
        }
        let entries = Entry::all_of(changes, &mut position, snapshot);
        Ok(entries.into_iter().map(Arc::new).collect())
    }

    /// For a listener whose next entry the buffer no longer has.
    async fn catch_up_again(&mut self) -> Result<(), DatabaseError> {
        let (head, next_number) = self.shared.head().ok_or(DatabaseError::TimedOut)?;
        self.catch_up_from(self.position.clone(), head, next_number)
            .await
    }

    /// Continues from `position`: first with what it has missed up to the head, from the database,
    /// then with the buffer. With more than [`MAX_REPLAYED`] changes missed, with a position that
    /// is not of this database, or if retention has deleted a change that it missed, resets.
    pub async fn catch_up_from(
        &mut self,
        position: Position,
        head: Head,
        next_number: u64,
    ) -> Result<(), DatabaseError> {
        self.position = position;
        let (position, snapshot) = (&self.position, &head.snapshot);
        let can_replay = async |connection: &mut _| {
            let beyond_limit =
                store::changes(connection, position, snapshot, MAX_REPLAYED, 1).await?;
            Ok(beyond_limit.is_empty()
                && !store::has_forgotten_after(connection, position, snapshot).await?)
        };
        if position.precedes(snapshot) && self.database.run(can_replay).await? {
            self.replay = Some(head.snapshot);
            self.next_entry = next_number;
        } else {
            self.reset_to(head, next_number);
        }
        Ok(())
    }

    /// Continues from the head, after a [`Message::Reset`].
    pub fn reset_to(&mut self, head: Head, next_number: u64) {
        self.start_at(head, next_number);
        self.must_reset = true;
    }

    /// Continues from the head.
    pub fn start_at(&mut self, head: Head, next_number: u64) {
        self.position = head.position;
        self.next_entry = next_number;
        self.replay = None;
    }

    /// Waits until that poll or a later one has ended. Returns the head and the number of the next
    /// entry.
    ///
    /// # Errors
    /// 503 when the last poll failed, or when the feed is closed.
    pub async fn head_after(&mut self, poll: u64) -> Result<(Head, u64), Problem> {
        while *self.is_open.borrow_and_update() {
            let failure = {
                let state = self.shared.state();
                (state.polls_ended >= poll).then(|| state.failure.clone())
            };
            match failure {
                Some(Some(failure)) => return Err(failure.into_read_problem()),
                Some(None) => {
                    let head = self.shared.head();
                    return head.ok_or_else(|| DatabaseError::TimedOut.into_read_problem());
                }
                None => _ = self.is_open.changed().await,
            }
        }
        Err(Problem::unavailable(
            "stopping",
            "This process is stopping. Open the stream again.",
        ))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.state().listeners -= 1;
    }
}
