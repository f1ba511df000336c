//! Deletes old orders in the background.

use std::time::{Duration, Instant};

use super::cursor::RunCursor;
use super::step::{Retention, Step};
use crate::api::{RETENTION_PAUSE_FACTOR, RetentionStepDone};
use crate::platform::db;
use crate::platform::observability::incident_log::IncidentLog;
use crate::platform::shutdown::Shutdown;

/// Time between the end of a run and the next one.
const RUN_INTERVAL: Duration = Duration::from_secs(3600);
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a step that could not be finished. Its orders are due again by then.
const FAILED_STEP_PAUSE: Duration = Duration::from_secs(65);

/// Makes runs, one after the other. Each process of the order service that has `RETENTION_DAYS`
/// has one worker.
pub struct RetentionWorker {
    pub retention: Retention,
    /// Age of an order's last change.
    pub older_than_days: i32,
}

impl RetentionWorker {
    /// Runs until shutdown. A step in progress is then dropped, and a later step finishes it.
    pub async fn run(self, shutdown: Shutdown) {
        let runs = async {
            loop {
                self.run_once().await;
                tokio::time::sleep(RUN_INTERVAL).await;
            }
        };
        tokio::select! {
            () = runs => {}
            () = shutdown.requested() => {}
        }
    }

    /// Looks at all old orders once. Logs what has left.
    async fn run_once(&self) {
        let incident = IncidentLog::new(
            "retention is paused: its database statements fail",
            "retention continues",
        );
        let started = Instant::now();
        let mut total = RetentionStepDone::default();
        let mut cursor = Some(RunCursor::START);
        while let Some(place) = cursor {
            let step = Step {
                older_than_days: self.older_than_days,
                dry_run: false,
                cursor: place,
            };
            let began = Instant::now();
            // Boxed: the future of a step contains those of its calls.
            let outcome = Box::pin(self.retention.step(step)).await;
            db::observe(&incident, &outcome);
            let mut pause = FAILED_STEP_PAUSE;
            if let Ok(done) = outcome {
                if done.waiting == 0 {
                    cursor = next(&done);
                    pause = (began.elapsed() * RETENTION_PAUSE_FACTOR).clamp(MIN_PAUSE, MAX_PAUSE);
                }
                add(&mut total, &done);
            }
            tokio::time::sleep(pause).await;
        }
        if total.orders > 0 || total.refused > 0 {
            let RetentionStepDone {
                orders,
                events,
                reservations,
                payments,
                refused,
                ..
            } = total;
            let seconds = started.elapsed().as_secs();
            tracing::info!(
                orders,
                events,
                reservations,
                payments,
                refused,
                seconds,
                "retention has run"
            );
        }
    }
}

fn next(done: &RetentionStepDone) -> Option<RunCursor> {
    done.next_cursor.as_ref()?.parse().ok()
}

fn add(total: &mut RetentionStepDone, done: &RetentionStepDone) {
    total.orders += done.orders;
    total.events += done.events;
    total.reservations += done.reservations;
    total.payments += done.payments;
    // The last step counts all of them, and is repeated while inventory or payment is away.
    total.refused = done.refused;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_step_that_is_repeated_counts_the_orders_that_stay_once() {
        let step = RetentionStepDone {
            orders: 1,
            refused: 2,
            ..RetentionStepDone::default()
        };
        let mut total = RetentionStepDone::default();
        add(&mut total, &step);
        add(&mut total, &step);
        assert_eq!((total.orders, total.refused), (2, 2));
    }
}
