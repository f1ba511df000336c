//! The feed: starts the reader when the first listener comes, and registers listeners.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::listener::Listener;
use super::reader::read;
use super::shared::Shared;
use crate::order::store::{InvalidPosition, Position};
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::http::problem::Problem;

/// The live stream of this process. Clones share it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

impl Feed {
    /// Must be called on the runtime that lives as long as the process.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            shared: Arc::new(Shared::new(database, Handle::current())),
        }
    }

    /// Ends the stream of every listener.
    pub fn close(&self) {
        self.shared.is_open.send_replace(false);
    }

    /// Listens from a position on, or from now on. Resets a listener whose position is invalid, is
    /// not of this database, or is too far back. `database` is for what this listener reads itself.
    ///
    /// # Errors
    /// 503 when the database cannot be read, or when the feed is closed.
    pub async fn listen(
        &self,
        database: &Database,
        after: Option<Result<Position, InvalidPosition>>,
    ) -> Result<Listener, Problem> {
        let (mut listener, poll) = self.register(database.clone());
        // The position may be later than the last poll, if it comes from another replica.
        let (head, next_number) = timeout(WORK_TIMEOUT, listener.head_after(poll))
            .await
            .unwrap_or_else(|_| Err(DatabaseError::TimedOut.into_read_problem()))?;
        match after {
            Some(Ok(position)) => listener
                .catch_up_from(position, head, next_number)
                .await
                .map_err(DatabaseError::into_read_problem)?,
            Some(Err(InvalidPosition)) => listener.reset_to(head, next_number),
            None => listener.start_at(head, next_number),
        }
        Ok(listener)
    }

    /// Adds a listener. Returns it with the number of the first poll that begins after this call.
    fn register(&self, database: Database) -> (Listener, u64) {
        let mut state = self.shared.state();
        state.listeners += 1;
        let poll = state.polls_begun + 1;
        if !state.is_reading {
            state.is_reading = true;
            state.buffer.forget_head();
            let reader = read(Arc::clone(&self.shared));
            self.shared.runtime.spawn(reader);
        }
        drop(state);
        self.shared.wake.notify_one();
        (Listener::new(Arc::clone(&self.shared), database), poll)
    }
}
