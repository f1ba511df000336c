//! The state that the reader and the listeners share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::buffer::{Buffer, Head, Poll};
use super::entry::Entry;
use crate::platform::db::{Database, DatabaseError};

pub struct Shared {
    /// The reader's connections.
    pub database: Database,
    /// The reader's runtime. Listeners run on worker threads, which can end before others do.
    pub runtime: Handle,
    state: Mutex<State>,
    /// Makes the reader poll at once.
    pub wake: Notify,
    /// `false` once the feed is closed. A value is sent after each poll too, to wake the listeners.
    pub is_open: watch::Sender<bool>,
}

#[derive(Default)]
pub struct State {
    pub listeners: usize,
    pub is_reading: bool,
    pub polls_begun: u64,
    pub polls_ended: u64,
    /// Why the last poll failed; `None` when it did not.
    pub failure: Option<DatabaseError>,
    pub buffer: Buffer,
}

impl Shared {
    pub fn new(database: Database, runtime: Handle) -> Self {
        Self {
            database,
            runtime,
            state: Mutex::default(),
            wake: Notify::new(),
            is_open: watch::Sender::new(true),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a poll that begins. Returns `false`, and ends the reading, when there are no
    /// listeners or the feed is closed.
    pub fn begin_poll(&self) -> bool {
        let mut state = self.state();
        state.is_reading = state.listeners > 0 && *self.is_open.borrow();
        state.polls_begun += u64::from(state.is_reading);
        state.is_reading
    }

    pub fn end_poll(&self, outcome: Result<Poll, DatabaseError>) {
        let mut state = self.state();
        state.polls_ended = state.polls_begun;
        state.failure = match outcome {
            Ok(poll) => {
                state.buffer.add(poll);
                None
            }
            Err(error) => Some(error),
        };
        drop(state);
        self.is_open.send_modify(|_| ());
    }

    /// How far the reader has read, and the number of the entry that it reads next; `None` before
    /// its first poll.
    pub fn head(&self) -> Option<(Head, u64)> {
        let state = self.state();
        let head = state.buffer.head()?.clone();
        Some((head, state.buffer.next_number()))
    }

    /// See [`Buffer::page`].
    pub fn page(&self, from: u64) -> Option<Vec<Arc<Entry>>> {
        self.state().buffer.page(from)
    }
}
