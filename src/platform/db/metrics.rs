//! The metrics of database connections and batches.

use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use crate::platform::observability::metrics::{BATCH_SIZE_BUCKETS, Registry};

/// The metrics of a service's database work.
pub struct DatabaseMetrics {
    pub connections_open: IntGauge,
    pub connections_idle: IntGauge,
    /// Items per transaction, by kind of work.
    pub batch_size: HistogramVec,
    /// Items that were parked because another session held a lock, by kind of work.
    pub batch_locked_items: IntCounterVec,
}

impl DatabaseMetrics {
    /// # Errors
    /// When the registry already has these metrics.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            connections_open: registry.gauge(
                "valerix_database_connections_open",
                "Database connections that the pools hold open.",
            )?,
            connections_idle: registry.gauge(
                "valerix_database_connections_idle",
                "Open database connections that are not in use.",
            )?,
            batch_size: registry.histograms(
                "valerix_batch_size",
                "Items that shared one transaction.",
                &["work"],
                BATCH_SIZE_BUCKETS,
            )?,
            batch_locked_items: registry.counters(
                "valerix_batch_locked_items_total",
                "Items that were parked because another session held a lock.",
                &["work"],
            )?,
        })
    }
}
