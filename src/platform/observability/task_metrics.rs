//! Counts the asynchronous tasks of the process.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;
use tokio::runtime::Handle;

use super::metrics::Registry;

/// The runtimes of the process: one for each worker thread, one for background work, and the main
/// one. Clones share the list.
#[derive(Clone)]
pub struct TaskMetrics {
    runtimes: Arc<Mutex<Vec<Handle>>>,
    alive_tasks: IntGauge,
}

impl TaskMetrics {
    /// # Errors
    /// When the registry already has this metric.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let alive_tasks = registry.gauge(
            "valerix_tokio_alive_tasks",
            "Asynchronous tasks that are alive.",
        )?;
        Ok(Self {
            runtimes: Arc::default(),
            alive_tasks,
        })
    }

    /// Adds the current runtime.
    pub fn add_current_runtime(&self) {
        self.runtimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Handle::current());
    }

    /// Updates the metric.
    pub fn update(&self) {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = runtimes
            .iter()
            .map(|runtime| runtime.metrics().num_alive_tasks());
        let alive = i64::try_from(alive.sum::<usize>()).unwrap_or(i64::MAX);
        self.alive_tasks.set(alive);
    }
}
