//! Admission control: limits how many orders one process works on at a time.
//!
//! Orders over the limit are rejected immediately and as cheaply as possible, so that the orders
//! already admitted keep their share of the processor.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::order::metrics::OrderMetrics;
use crate::platform::http::problem::Problem;
use crate::platform::observability::incident_log::IncidentLog;

/// Orders in progress in one process.
const MAX_IN_PROGRESS: usize = 512;
/// An overload ends when more permits than this are free. Without this distance, a load right at
/// the limit would log the start and the end of an overload over and over.
const MIN_FREE_TO_RECOVER: usize = MAX_IN_PROGRESS / 2;

/// One for the process, shared by its worker threads.
pub struct AdmissionControl {
    permits: Semaphore,
    overload: IncidentLog,
}

impl Default for AdmissionControl {
    fn default() -> Self {
        Self {
            permits: Semaphore::new(MAX_IN_PROGRESS),
            overload: IncidentLog::new(
                "overload started: rejecting orders",
                "overload ended: accepting orders",
            ),
        }
    }
}

impl AdmissionControl {
    /// Returns a permit, which is released when it is dropped.
    ///
    /// # Errors
    /// `overloaded` (503) when the limit is reached.
    pub fn try_admit(&self, metrics: &OrderMetrics) -> Result<SemaphorePermit<'_>, Problem> {
        if let Ok(permit) = self.permits.try_acquire() {
            if self.permits.available_permits() > MIN_FREE_TO_RECOVER {
                self.overload.resolve();
            }
            return Ok(permit);
        }
        Err(self.reject(metrics))
    }

    /// Returns the rejection of an order while no permit is free.
    pub fn reject_if_full(&self, metrics: &OrderMetrics) -> Option<Problem> {
        (self.permits.available_permits() == 0).then(|| self.reject(metrics))
    }

    fn reject(&self, metrics: &OrderMetrics) -> Problem {
        metrics.rejected_by_overload.inc();
        self.overload
            .raise(&format_args!("{MAX_IN_PROGRESS} orders are in progress"));
        let detail = "Too many orders are in progress. Nothing was stored. Retry after 1 s.";
        // The incident log has one line for the whole overload.
        Problem::unavailable("overloaded", detail).without_log()
    }
}
