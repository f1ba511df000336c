//! Changes of orders as they happen, whichever replica made them: read from the database once for all who listen here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::store::{self, ChangeRow};
use crate::api::OrderChange;
use crate::platform::database::{Database, DatabaseError};
use crate::platform::trouble::Trouble;

const POLL: Duration = Duration::from_millis(200);
/// Changes that are kept for who comes back; who missed more has to look anew.
const KEPT: usize = 1000;
const BATCH: i64 = 500;
/// Longer than any transaction lives: a number that is missing after this was given up.
const GAP_PATIENCE: Duration = Duration::from_secs(4);

/// A change, ready to be sent.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: i64,
    pub text: Bytes,
}

/// What a listener is to do next.
#[derive(Debug)]
pub enum Next {
    Entries(Vec<Entry>),
    /// What it has missed is not kept any more; it goes on from here.
    Reset(i64),
}

/// The changes of late, shared by the process's listeners.
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
    /// The last change that was read; nothing once the service stops.
    position: watch::Sender<Option<i64>>,
}

#[derive(Default)]
struct State {
    listeners: usize,
    reading: bool,
    /// Every change after this one is among the entries, up to the position.
    floor: i64,
    entries: VecDeque<Entry>,
}

impl Feed {
    /// To be called on the runtime that lives as long as the process.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let (position, _) = watch::channel(Some(0));
        let state = Mutex::default();
        Self { shared: Arc::new(Shared { database, runtime: Handle::current(), state, position }) }
    }

    /// Ends every listener.
    pub fn close(&self) {
        self.shared.position.send_replace(None);
    }

    /// Listens from after that change on, or from now on; reading begins with the first listener.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn listen(&self, database: &Database, after: Option<i64>) -> Result<Listener, DatabaseError> {
        let newest = database.run(async |connection| store::newest_change(connection).await).await?;
        let kept = i64::try_from(KEPT).unwrap_or(i64::MAX);
        // Someone else's number, or one of another database: what was missed since cannot be known.
        let known = after.filter(|after| (0..=newest).contains(after));
        let is_lost = after.is_some() && known.is_none();
        let after = known.unwrap_or(newest);
        let mut state = self.shared.state();
        state.listeners += 1;
        if !state.reading {
            state.reading = true;
            state.entries.clear();
            let from = after.max(newest - kept);
            state.floor = from;
            self.shared.advance(from);
            self.shared.runtime.spawn(read(Arc::clone(&self.shared), from));
        }
        drop(state);
        let position = self.shared.position.subscribe();
        Ok(Listener { shared: Arc::clone(&self.shared), last: after, is_lost, position })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody listens; if not, the reader is done.
    fn goes_on(&self) -> bool {
        let mut state = self.state();
        state.reading = state.listeners > 0 && self.position.borrow().is_some();
        state.reading
    }

    fn publish(&self, changes: Vec<ChangeRow>) {
        let Some(last) = changes.last().map(|change| change.id) else { return };
        let mut state = self.state();
        state.entries.extend(changes.into_iter().map(entry));
        let surplus = state.entries.len().saturating_sub(KEPT);
        state.floor = state.entries.drain(..surplus).last().map_or(state.floor, |entry| entry.id);
        drop(state);
        self.advance(last);
    }

    /// A feed that was closed stays so.
    fn advance(&self, to: i64) {
        self.position.send_if_modified(|position| {
            position.as_mut().is_some_and(|position| {
                *position = to;
                true
            })
        });
    }
}

fn entry(change: ChangeRow) -> Entry {
    let id = change.id;
    let data = serde_json::to_string(&OrderChange::from(change)).unwrap_or_default();
    Entry { id, text: format!("event: order\nid: {id}\ndata: {data}\n\n").into() }
}

/// Reads on until nobody listens any more.
async fn read(shared: Arc<Shared>, from: i64) {
    let mut last = from;
    let mut gap: Option<Instant> = None;
    let trouble = Trouble::new("the live stream cannot be read", "the live stream goes on");
    while shared.goes_on() {
        let changes =
            shared.database.run(async |connection| store::changes(connection, last, BATCH).await).await;
        trouble.note(&changes);
        let ready = in_order(last, changes.unwrap_or_default(), &mut gap, Instant::now());
        last = ready.last().map_or(last, |change| change.id);
        let more = ready.len() == usize::try_from(BATCH).unwrap_or_default();
        shared.publish(ready);
        if !more {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Those that can be shown: numbers are given before a transaction commits, so a missing one may still come, and
/// nobody who resumes after a number may have missed a lower one.
fn in_order(last: i64, changes: Vec<ChangeRow>, gap: &mut Option<Instant>, now: Instant) -> Vec<ChangeRow> {
    let given_up = gap.is_some_and(|since| now.duration_since(since) >= GAP_PATIENCE);
    let mut expected = last + 1;
    let (mut ready, mut waits) = (Vec::new(), false);
    for change in changes {
        if change.id != expected && !given_up {
            waits = true;
            break;
        }
        expected = change.id + 1;
        ready.push(change);
    }
    *gap = match *gap {
        Some(since) if waits && ready.is_empty() => Some(since),
        _ => waits.then_some(now),
    };
    ready
}

/// One who listens; dropped, it listens no more.
pub struct Listener {
    shared: Arc<Shared>,
    last: i64,
    /// Came with a number that nothing can be told after.
    is_lost: bool,
    position: watch::Receiver<Option<i64>>,
}

impl Listener {
    #[must_use]
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Waits for what comes next; nothing when the service stops.
    pub async fn next(&mut self) -> Option<Next> {
        if std::mem::take(&mut self.is_lost) {
            return Some(Next::Reset(self.last));
        }
        loop {
            let position = (*self.position.borrow_and_update())?;
            if position > self.last {
                let next = self.since(position);
                self.last = position;
                return Some(next);
            }
            self.position.changed().await.ok()?;
        }
    }

    fn since(&self, position: i64) -> Next {
        let state = self.shared.state();
        if self.last < state.floor {
            return Next::Reset(position);
        }
        let entries = state.entries.iter().filter(|entry| entry.id > self.last && entry.id <= position);
        Next::Entries(entries.cloned().collect())
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

    fn ids(last: i64, ids: &[i64], gap: &mut Option<Instant>, now: Instant) -> Vec<i64> {
        let changes = ids.iter().map(|id| ChangeRow::example(*id)).collect();
        in_order(last, changes, gap, now).into_iter().map(|change| change.id).collect()
    }

    #[test]
    fn nothing_is_shown_beyond_a_number_that_may_still_come() {
        let (mut gap, start) = (None, Instant::now());
        assert_eq!(ids(0, &[1, 2, 4, 5], &mut gap, start), [1, 2]);
        assert_eq!(ids(2, &[4, 5], &mut gap, start + Duration::from_secs(1)), [] as [i64; 0]);
        assert_eq!(ids(2, &[3, 4, 5], &mut gap, start + Duration::from_secs(2)), [3, 4, 5]);
        assert!(gap.is_none());
    }

    #[test]
    fn a_number_that_was_given_up_holds_nothing_up_for_ever() {
        let (mut gap, start) = (None, Instant::now());
        assert_eq!(ids(2, &[4, 5], &mut gap, start), [] as [i64; 0]);
        assert_eq!(ids(2, &[4, 5, 7], &mut gap, start + GAP_PATIENCE), [4, 5, 7]);
        assert!(gap.is_none(), "the next gap has its own time");
    }
}
