//! The database connections of a process: a pool for each thread.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bb8::QueueStrategy;

use super::connection_manager::{Incidents, Manager, Pool};
use super::database::Database;
use super::metrics::DatabaseMetrics;
use super::timeouts::CHECKOUT_TIMEOUT;
use super::url::DatabaseUrl;
use crate::platform::observability::incident_log::IncidentLog;

/// Opens a pool for each thread that needs one. The runtime of a thread drives the connections of
/// its pool: so a statement never wakes another thread, and no thread uses a connection whose
/// runtime has ended. Clones share the list of pools.
#[derive(Clone)]
pub struct Pools {
    url: DatabaseUrl,
    /// Maximum number of connections of each pool.
    size: u32,
    opened: Arc<Mutex<Vec<Pool>>>,
    incidents: Arc<Incidents>,
    metrics: Arc<DatabaseMetrics>,
}

impl Pools {
    /// Divides `connections` evenly among the pools of `threads` threads. Each pool gets at least
    /// one.
    #[must_use]
    pub fn new(
        url: &DatabaseUrl,
        connections: u32,
        threads: usize,
        metrics: DatabaseMetrics,
    ) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let size = connections.checked_div(threads).unwrap_or_default().max(1);
        Self {
            url: url.clone(),
            size,
            opened: Arc::default(),
            incidents: Arc::default(),
            metrics: Arc::new(metrics),
        }
    }

    /// Opens a pool for the current thread. Connections are opened when they are first needed.
    #[must_use]
    pub fn for_this_thread(&self) -> Database {
        let manager = Manager {
            url: self.url.clone(),
            incidents: Arc::clone(&self.incidents),
        };
        let pool = Pool::builder()
            .max_size(self.size)
            .connection_timeout(CHECKOUT_TIMEOUT)
            .retry_connection(false)
            // Prefer the connection that was used last, which has prepared statements and warm
            // caches. The pool closes connections that stay idle.
            .queue_strategy(QueueStrategy::Lifo)
            .build_unchecked(manager);
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pool.clone());
        Database::new(pool, Arc::clone(&self.incidents), Arc::clone(&self.metrics))
    }

    /// Returns the incident of an unreachable database, for code that connects without a pool.
    #[must_use]
    pub fn unreachable_incident(&self) -> &IncidentLog {
        &self.incidents.unreachable
    }

    /// Sets whether this process is still migrating the schema. Meanwhile, failed checks are not
    /// logged.
    pub fn set_migrating(&self, is_migrating: bool) {
        self.incidents
            .is_migrating
            .store(is_migrating, Ordering::Relaxed);
    }

    /// Updates the metrics of open and idle connections.
    pub fn update_metrics(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, idle) = opened
            .iter()
            .map(Pool::state)
            .fold((0, 0), |(open, idle), state| {
                (open + state.connections, idle + state.idle_connections)
            });
        self.metrics.connections_open.set(open.into());
        self.metrics.connections_idle.set(idle.into());
    }
}
