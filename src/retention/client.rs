//! Asks the order service for one step after the other.

use std::time::Instant;

use super::report::Report;
use crate::api::{RETENTION_PAUSE_FACTOR, RetentionStep, RetentionStepDone};
use crate::operator_client::{OperatorClient, OperatorError};
use crate::platform::client::BaseUrl;
use crate::platform::output;

/// Orders after which a line shows the progress.
const PROGRESS_ORDERS: i64 = 10_000;

/// A run over all old orders.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Count, and delete nothing.
    pub dry_run: bool,
    /// The service's `RETENTION_DAYS` if absent.
    pub older_than_days: Option<u32>,
    pub show_progress: bool,
    /// Pause after each step, so that customers do not notice the run.
    pub pauses: bool,
}

pub struct RetentionClient(OperatorClient);

impl RetentionClient {
    /// `token` is the service's `OPERATOR_TOKEN`.
    #[must_use]
    pub fn new(url: &BaseUrl, token: Option<&str>) -> Self {
        Self(OperatorClient::new("order", url, token))
    }

    /// Makes a run. Ends it early if inventory or payment does not answer. Needs a `LocalSet`.
    ///
    /// # Errors
    /// When the order service does not answer, or rejects a step, or its outcome is not known. What
    /// earlier steps have deleted stays deleted.
    pub async fn run(&self, run: Run) -> Result<Report, OperatorError> {
        let mut report = Report::new(run.dry_run);
        let mut cursor = None;
        loop {
            let began = Instant::now();
            let done = self.step(run, cursor).await?;
            if run.pauses && done.orders > 0 {
                tokio::time::sleep(began.elapsed() * RETENTION_PAUSE_FACTOR).await;
            }
            report.add(&done);
            if run.show_progress && report.passed(PROGRESS_ORDERS, &done) {
                output::print_line(report.progress());
            }
            cursor = done.next_cursor;
            if cursor.is_none() || report.waiting > 0 {
                return Ok(report);
            }
        }
    }

    async fn step(
        &self,
        run: Run,
        cursor: Option<String>,
    ) -> Result<RetentionStepDone, OperatorError> {
        let step = RetentionStep {
            older_than_days: run.older_than_days,
            dry_run: run.dry_run,
            cursor,
        };
        let advice = "repeating the command is safe: it goes on where this run ended";
        let changed = self.0.post("/retention/steps", &step, advice).await?;
        Ok(changed.body)
    }
}
