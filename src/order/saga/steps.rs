//! The calls of an attempt, as they are stored with the change that follows them.

use std::time::Instant;

use chrono::{SubsecRound, Utc};
use serde_json::Value;

use crate::api::OrderStep;
use crate::domain::saga::{CallFailure, Step, StepOutcome};
use crate::order::clients::CallOutcome;

/// The calls that an attempt has made since its last stored change.
#[derive(Default)]
pub struct Steps {
    made: Vec<Value>,
    /// The last call of the attempt that failed.
    last_failure: Option<Value>,
}

impl Steps {
    /// Makes a call, and adds it.
    pub async fn record(
        &mut self,
        step: Step,
        call: impl Future<Output = CallOutcome>,
    ) -> StepOutcome {
        let (started_at, started) = (Utc::now().trunc_subsecs(6), Instant::now());
        let CallOutcome { outcome, detail } = call.await;
        let is_ok = outcome_name(outcome) == "ok";
        let made = OrderStep {
            step: step_name(step).to_owned(),
            outcome: outcome_name(outcome).to_owned(),
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

    /// Returns the calls that were made since this was called before.
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

const fn step_name(step: Step) -> &'static str {
    match step {
        Step::QueryPayment => "query-payment",
        Step::Reserve => "reserve",
        Step::Charge => "charge",
        Step::Release => "release",
        Step::Refund => "refund",
        Step::Ship => "ship",
    }
}

const fn outcome_name(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Reserved
        | StepOutcome::Charged
        | StepOutcome::NotCharged
        | StepOutcome::Released { .. }
        | StepOutcome::Refunded(_)
        | StepOutcome::Shipped => "ok",
        StepOutcome::InsufficientStock
        | StepOutcome::UnknownProduct
        | StepOutcome::Fenced
        | StepOutcome::Declined
        | StepOutcome::Expired
        | StepOutcome::CallFailed(CallFailure::Rejected) => "rejected",
        StepOutcome::CallFailed(CallFailure::TimedOut) => "timed-out",
        StepOutcome::CallFailed(CallFailure::ConnectionLost) => "connection-lost",
        StepOutcome::CallFailed(CallFailure::ConnectionRefused) => "refused",
        StepOutcome::CallFailed(CallFailure::NotCalled) => "not-called",
        StepOutcome::CallFailed(CallFailure::Failed) => "failed",
    }
}
