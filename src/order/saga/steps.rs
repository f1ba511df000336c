//! The calls of an attempt, as they are stored with the change that follows them.

use std::time::Instant;

use chrono::{SubsecRound, Utc};
use serde_json::Value;

use crate::api::OrderStep;
use crate::domain::saga::{CallResult, Step, StepOutcome};
use crate::order::clients::CallOutcome;

/// The calls that an attempt has made since its last stored change.
#[derive(Default)]
pub struct Steps {
    made: Vec<Value>,
    /// The last call of the attempt that failed.
    last_failure: Option<Value>,
}

impl Steps {
    /// Makes a call, and records it.
    pub async fn record(
        &mut self,
        step: Step,
        call: impl Future<Output = CallOutcome>,
    ) -> StepOutcome {
        let (started_at, started) = (Utc::now().trunc_subsecs(6), Instant::now());
        let CallOutcome { outcome, detail } = call.await;
        let result = outcome.call_result(step);
        let is_ok = result == CallResult::Ok;
        let made = OrderStep {
            step: step.as_str().to_owned(),
            outcome: result.as_str().to_owned(),
            detail: detail.filter(|_| !is_ok),
            started_at,
            duration_ms: tenths_of_milliseconds(started),
        };
        // An `OrderStep` is always an object.
        let made = serde_json::to_value(made).unwrap_or_default();
        if matches!(outcome, StepOutcome::CallFailed(_)) {
            self.last_failure = Some(made.clone());
        }
        self.made.push(made);
        outcome
    }

    /// Returns the calls that were made since the previous `take`.
    pub fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.made)
    }

    /// The last call that failed, and for which the order waits if it is not settled. A call that
    /// was answered with a decision, such as a declined payment, has not failed.
    pub fn last_failure(&self) -> Option<Value> {
        self.last_failure.clone()
    }
}

/// Milliseconds since then, rounded to a tenth.
fn tenths_of_milliseconds(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}
