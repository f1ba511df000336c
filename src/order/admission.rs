//! How many orders are under way at once. More are turned away at once, and as cheaply as can be:
//! what is spent on them is not there for those that were let in.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::order::metrics::OrderMetrics;
use crate::platform::http::problem::Problem;
use crate::platform::observability::incident_log::IncidentLog;

/// Orders under way in one process.
const MOST: usize = 512;
/// With so many free places, an overload is over; with one or two it comes and goes.
const CALM: usize = MOST / 2;

/// One for the process.
pub struct Intake {
    places: Semaphore,
    overload: IncidentLog,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            places: Semaphore::new(MOST),
            overload: IncidentLog::new("turning orders away", "orders are taken again"),
        }
    }
}

impl Intake {
    /// A place, which is free again when it is dropped.
    ///
    /// # Errors
    /// 503 when there is none.
    pub fn enter(&self, metrics: &OrderMetrics) -> Result<SemaphorePermit<'_>, Problem> {
        if let Ok(place) = self.places.try_acquire() {
            if self.places.available_permits() > CALM {
                self.overload.resolve();
            }
            return Ok(place);
        }
        metrics.rejected_by_overload.inc();
        self.overload
            .raise(&format_args!("{MOST} orders are under way"));
        Err(Problem::unavailable("overloaded", "Too many orders are under way.").without_log())
    }
}
