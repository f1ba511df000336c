//! The live feed: the changes of all orders, whichever replica made them, read from the database
//! once for all listeners of this process.
//!
//! The reader remembers a [`Position`], which says exactly what it has read. Each poll takes a
//! snapshot of the database and reads the changes that this snapshot sees and the position does not
//! hold. A change is therefore read in the first poll after its commit, however long its
//! transaction was open.
//!
//! A listener that resumes, or that fell behind, reads what it misses up to the reader's snapshot
//! from the database, and goes on with what the reader reads after that snapshot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use diesel_async::AsyncPgConnection;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::api::OrderChange;
use crate::order::store;
use crate::order::store::{ChangeRow, InvalidPosition, Position, Snapshot};
use crate::platform::db::{self, Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::http::problem::Problem;
use crate::platform::observability::incident_log::IncidentLog;

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Changes in memory, for all listeners of the process. A poll that finds more keeps none of them.
const MAX_BUFFERED: u32 = 5000;
/// Changes that a listener gets at a time.
const PAGE: u32 = 500;
/// Changes that a listener can have missed. With more, it is told to read the list of orders anew.
const MAX_REPLAYED: u32 = 10_000;

/// What a listener is sent.
#[derive(Debug)]
pub enum Next {
    /// Server-sent events, one for each change.
    Changes(Bytes),
    /// The listener has missed changes that it does not get; it goes on from this position.
    Reset(Position),
}

/// The live feed of this process. Clones share it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    /// The reader's.
    database: Database,
    /// Where the reader runs: listeners come and go with their worker threads.
    runtime: Handle,
    state: Mutex<State>,
    /// Makes the reader poll at once.
    wake: Notify,
    /// Whether the feed is open. Listeners are notified after each poll and when it closes.
    is_open: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    listeners: usize,
    is_reading: bool,
    polls_begun: u64,
    polls_ended: u64,
    /// Why the last poll failed, if it did.
    failure: Option<DatabaseError>,
    /// How far the reader has read; none before its first poll.
    head: Option<Head>,
    /// The number of the first entry. Numbers only count what this process has read.
    first: u64,
    entries: VecDeque<Arc<Entry>>,
}

/// The position holds exactly the changes that the snapshot sees.
#[derive(Debug, Clone)]
struct Head {
    snapshot: Snapshot,
    position: Position,
}

/// A change, ready to be sent.
#[derive(Debug)]
struct Entry {
    /// What a listener holds once it has this change.
    position: Position,
    /// None where the change could not be written as JSON, which ends the streams that come to it.
    text: Option<String>,
}

impl Feed {
    /// To be called on the runtime that lives as long as the process.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let shared = Shared {
            database,
            runtime: Handle::current(),
            state: Mutex::default(),
            wake: Notify::new(),
            is_open: watch::Sender::new(true),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends every listener.
    pub fn close(&self) {
        self.shared.is_open.send_replace(false);
    }

    /// Listens from a position on, or from now on. A position that is invalid, is not of this
    /// database, or is too far back begins with [`Next::Reset`]. `database` is read for this
    /// listener alone.
    ///
    /// # Errors
    /// 503 when the database cannot be read, or when the feed is closed.
    pub async fn listen(
        &self,
        database: &Database,
        after: Option<Result<Position, InvalidPosition>>,
    ) -> Result<Listener, Problem> {
        let (mut listener, poll) = self.register(database.clone());
        // The position may be newer than the last poll: another replica can have given it out
        // since.
        let head = timeout(WORK_TIMEOUT, listener.head_after(poll));
        let (head, next) = head
            .await
            .unwrap_or_else(|_| Err(DatabaseError::TimedOut.of_read()))?;
        match after {
            Some(Ok(position)) => {
                listener.position = position;
                listener
                    .catch_up(head, next)
                    .await
                    .map_err(DatabaseError::of_read)?;
            }
            Some(Err(InvalidPosition)) => {
                listener.start_at(head, next);
                listener.must_reset = true;
            }
            None => listener.start_at(head, next),
        }
        Ok(listener)
    }

    /// Adds a listener, and returns the number of the first poll that begins after this.
    fn register(&self, database: Database) -> (Listener, u64) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        state.listeners += 1;
        let poll = state.polls_begun + 1;
        if !state.is_reading {
            state.is_reading = true;
            state.head = None;
            shared.runtime.spawn(read(Arc::clone(&self.shared)));
        }
        drop(state);
        shared.wake.notify_one();
        let progress = shared.is_open.subscribe();
        let position = Position::default();
        (
            Listener {
                shared,
                database,
                position,
                next: 0,
                replay: None,
                must_reset: false,
                progress,
            },
            poll,
        )
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a poll, unless there are no more listeners, or the feed is closed.
    fn begin_poll(&self) -> bool {
        let mut state = self.state();
        state.is_reading = state.listeners > 0 && *self.is_open.borrow();
        state.polls_begun += u64::from(state.is_reading);
        state.is_reading
    }

    fn end_poll(&self, outcome: Result<Poll, DatabaseError>) {
        let mut state = self.state();
        state.polls_ended = state.polls_begun;
        state.failure = match outcome {
            Ok(poll) => {
                state.add(poll);
                None
            }
            Err(error) => Some(error),
        };
        drop(state);
        self.is_open.send_modify(|_| ());
    }

    /// How far the reader has read, and the number of the entry that comes next.
    fn head(&self) -> Option<(Head, u64)> {
        let state = self.state();
        Some((state.head.clone()?, state.next()))
    }

    fn entries(&self, from: u64) -> Option<Vec<Arc<Entry>>> {
        self.state().entries(from)
    }
}

impl State {
    /// The number that the next entry gets.
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Entries from that number on, at most a page; none when some of them are gone.
    fn entries(&self, from: u64) -> Option<Vec<Arc<Entry>>> {
        let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        Some(
            self.entries
                .iter()
                .skip(skip)
                .take(PAGE as usize)
                .cloned()
                .collect(),
        )
    }

    fn add(&mut self, poll: Poll) {
        match poll {
            Poll::Changes(head, entries) => {
                self.head = Some(head);
                self.entries.extend(entries.into_iter().map(Arc::new));
                let surplus = self.entries.len().saturating_sub(MAX_BUFFERED as usize);
                self.entries.drain(..surplus);
                self.first += surplus as u64;
            }
            Poll::Gap(head) => {
                self.head = Some(head);
                // One number is left out, so that the entries of no listener are complete.
                self.first = self.next() + 1;
                self.entries.clear();
            }
        }
    }
}

/// What a poll finds.
enum Poll {
    Changes(Head, Vec<Entry>),
    /// The reader goes on from here; what lies between, each listener reads by itself.
    Gap(Head),
}

/// Polls until there are no more listeners.
async fn read(shared: Arc<Shared>) {
    let trouble = IncidentLog::new("the live stream cannot be read", "the live stream goes on");
    while shared.begin_poll() {
        let head = shared.state().head.clone();
        let outcome = shared
            .database
            .run(async |connection| poll(connection, head).await)
            .await;
        db::observe(&trouble, &outcome);
        shared.end_poll(outcome);
        let _ = timeout(POLL_INTERVAL, shared.wake.notified()).await;
    }
}

async fn poll(
    connection: &mut AsyncPgConnection,
    head: Option<Head>,
) -> Result<Poll, DatabaseError> {
    let snapshot = store::snapshot(connection).await?;
    // A snapshot from before the position is one of another server, such as a standby that was
    // promoted.
    if let Some(Head { mut position, .. }) = head
        && position.precedes(&snapshot)
    {
        let changes = store::changes(connection, &position, &snapshot, 0, MAX_BUFFERED + 1).await?;
        if changes.len() <= MAX_BUFFERED as usize {
            let entries = entries(changes, &mut position, &snapshot);
            position.complete(&snapshot);
            return Ok(Poll::Changes(Head { snapshot, position }, entries));
        }
    }
    let position = store::position_at(connection, &snapshot).await?;
    Ok(Poll::Gap(Head { snapshot, position }))
}

/// Moves the position past the changes.
fn entries(changes: Vec<ChangeRow>, position: &mut Position, snapshot: &Snapshot) -> Vec<Entry> {
    let entry = |change: ChangeRow| {
        position.advance(change.key(), snapshot);
        let data = serde_json::to_string(&OrderChange::from(change)).inspect_err(
            |error| tracing::error!(%error, "a change of an order cannot be written as JSON"),
        );
        let text = data
            .ok()
            .map(|data| format!("event: order\nid: {position}\ndata: {data}\n\n"));
        Entry {
            position: position.clone(),
            text,
        }
    };
    changes.into_iter().map(entry).collect()
}

/// A registered listener, until it is dropped.
pub struct Listener {
    shared: Arc<Shared>,
    database: Database,
    /// What it has been sent.
    position: Position,
    /// The number of the entry that it goes on with.
    next: u64,
    /// It first reads from the database what this snapshot sees.
    replay: Option<Snapshot>,
    must_reset: bool,
    progress: watch::Receiver<bool>,
}

impl Listener {
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Waits for what comes next; none when the stream ends. A caller that gives up waiting loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Next> {
        while *self.progress.borrow_and_update() {
            if std::mem::take(&mut self.must_reset) {
                return Some(Next::Reset(self.position.clone()));
            }
            let entries = if let Some(snapshot) = self.replay.clone() {
                self.replay_page(&snapshot).await
            } else if let Some(entries) = self.shared.entries(self.next) {
                if entries.is_empty() {
                    self.progress.changed().await.ok()?;
                }
                self.next += entries.len() as u64;
                Ok(entries)
            } else {
                self.fell_behind().await.map(|()| Vec::new())
            };
            let failed = |error: &_| tracing::warn!(%error, "a live stream ends: what it misses cannot be read");
            let entries = entries.inspect_err(failed).ok()?;
            if let Some(last) = entries.last() {
                self.position = last.position.clone();
                let texts: Option<Vec<&str>> =
                    entries.iter().map(|entry| entry.text.as_deref()).collect();
                return texts.map(|texts| Next::Changes(texts.concat().into()));
            }
        }
        None
    }

    /// A page of what the snapshot sees and the listener misses. The last page ends the replay.
    async fn replay_page(&mut self, snapshot: &Snapshot) -> Result<Vec<Arc<Entry>>, DatabaseError> {
        let mut position = self.position.clone();
        let read = async |connection: &mut _| {
            store::changes(connection, &position, snapshot, 0, PAGE).await
        };
        let changes = self.database.run(read).await?;
        if changes.len() < PAGE as usize {
            self.replay = None;
        }
        Ok(entries(changes, &mut position, snapshot)
            .into_iter()
            .map(Arc::new)
            .collect())
    }

    async fn fell_behind(&mut self) -> Result<(), DatabaseError> {
        let (head, next) = self.shared.head().ok_or(DatabaseError::TimedOut)?;
        self.catch_up(head, next).await
    }

    /// Goes on from the head, once it has read from the database what it misses up to there.
    async fn catch_up(&mut self, head: Head, next: u64) -> Result<(), DatabaseError> {
        let (position, snapshot) = (&self.position, &head.snapshot);
        let missed = async |connection: &mut _| {
            store::changes(connection, position, snapshot, MAX_REPLAYED, 1).await
        };
        if position.precedes(snapshot) && self.database.run(missed).await?.is_empty() {
            self.replay = Some(head.snapshot);
            self.next = next;
        } else {
            self.start_at(head, next);
            self.must_reset = true;
        }
        Ok(())
    }

    /// Goes on from the head, without what it misses.
    fn start_at(&mut self, head: Head, next: u64) {
        self.position = head.position;
        self.next = next;
        self.replay = None;
    }

    /// Waits for the end of that poll, or of a later one.
    async fn head_after(&mut self, poll: u64) -> Result<(Head, u64), Problem> {
        while *self.progress.borrow_and_update() {
            let failure = {
                let state = self.shared.state();
                (state.polls_ended >= poll).then(|| state.failure.clone())
            };
            match failure {
                Some(Some(failure)) => return Err(failure.of_read()),
                Some(None) => {
                    return self
                        .shared
                        .head()
                        .ok_or_else(|| DatabaseError::TimedOut.of_read());
                }
                None => _ = self.progress.changed().await,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            snapshot: "9:9:".parse().unwrap(),
            position: Position::default(),
        }
    }

    fn changes(count: u32) -> Poll {
        let entry = |_| Entry {
            position: Position::default(),
            text: None,
        };
        Poll::Changes(head(), (0..count).map(entry).collect())
    }

    fn found(state: &State, from: u64) -> Option<usize> {
        state.entries(from).map(|entries| entries.len())
    }

    #[test]
    fn a_listener_gets_the_buffered_entries_unless_some_that_it_misses_are_gone() {
        let mut state = State::default();
        assert_eq!(found(&state, 0), Some(0));
        state.add(changes(3));
        assert_eq!(
            (found(&state, 0), found(&state, 2), found(&state, 3)),
            (Some(3), Some(1), Some(0))
        );
        state.add(changes(MAX_BUFFERED));
        assert_eq!(state.entries.len(), MAX_BUFFERED as usize);
        assert_eq!(
            (found(&state, 2), found(&state, 3)),
            (None, Some(PAGE as usize))
        );
    }

    #[test]
    fn no_listener_goes_on_across_a_gap() {
        let mut state = State::default();
        state.add(changes(3));
        let before = state.next();
        state.add(Poll::Gap(head()));
        assert_eq!(found(&state, before), None);
        let next = state.next();
        state.add(changes(2));
        assert_eq!(
            (found(&state, before), found(&state, next)),
            (None, Some(2))
        );
    }
}
