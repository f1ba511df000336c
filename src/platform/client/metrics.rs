//! The metrics of the calls to other services.

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::platform::observability::metrics::{BATCH_SIZE_BUCKETS, Registry};

/// The metrics of a service's calls to other services.
pub struct ClientMetrics {
    /// Calls by dependency and outcome: answered, error, timeout, rejected.
    pub calls: IntCounterVec,
    pub retries: IntCounterVec,
    /// 1 for the state that the circuit breaker of a route is in, 0 for the other states.
    pub breaker_state: IntGaugeVec,
    /// Calls per batch, by dependency and path.
    pub batch_size: HistogramVec,
}

impl ClientMetrics {
    /// # Errors
    /// When the registry already has these metrics.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            calls: registry.counters(
                "valerix_dependency_calls_total",
                "Calls to another service, by outcome.",
                &["dependency", "outcome"],
            )?,
            retries: registry.counters(
                "valerix_dependency_retries_total",
                "Calls retried because the service cannot have handled them.",
                &["dependency"],
            )?,
            breaker_state: registry.gauges(
                "valerix_breaker_state",
                "1 for the state that the circuit breaker of a route is in.",
                &["dependency", "route", "state"],
            )?,
            batch_size: registry.histograms(
                "valerix_request_batch_size",
                "Calls to another service that shared one request.",
                &["dependency", "path"],
                BATCH_SIZE_BUCKETS,
            )?,
        })
    }
}
