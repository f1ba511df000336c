//! The process's asynchronous runtimes: one for each thread that answers requests, one for the
//! background, one for the rest.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

/// Clones share it.
#[derive(Clone, Default)]
pub struct Runtimes(Arc<Mutex<Vec<Handle>>>);

impl Runtimes {
    /// Counts the runtime that this is called on among them.
    pub fn join(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Handle::current());
    }

    /// Tasks that are alive.
    #[must_use]
    pub fn tasks(&self) -> i64 {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = runtimes
            .iter()
            .map(|runtime| runtime.metrics().num_alive_tasks());
        i64::try_from(alive.sum::<usize>()).unwrap_or(i64::MAX)
    }
}
