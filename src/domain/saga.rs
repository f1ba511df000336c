//! The saga of an order: pure rules, which the service and the model in `tests/model` share.
//!
//! An [`Attempt`] is one executor's try to finish an order: the request that placed the order
//! (epoch 1), or a recovery worker that took it over (a higher epoch). The executor performs the
//! step that [`Attempt::next`] returns, passes the result to [`Attempt::apply`], and stores the
//! transition that comes back before it goes on.

use crate::api::{FailureReason, OrderStatus};

pub use super::change_reason::ChangeReason;
pub use super::order_state::{MAX_EPOCH, Refusal, SagaState};
pub use super::step::{CallFailure, CallResult, RefundOutcome, Step, StepOutcome};

#[cfg(test)]
mod tests;

/// How far an attempt has come. It is kept in memory only and ends with its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Started,
    /// Payment did not decline: the next step reserves stock.
    PaymentQueried,
    StockReserved,
    /// Only what the order owes is left.
    Compensating,
    /// As `Compensating`, and this attempt's release has failed. An owed refund does not wait for
    /// it.
    ReleaseFailed,
    Stopped,
}

/// One executor's try to finish an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub state: SagaState,
    stage: Stage,
}

/// A transition of the order's state. It must be stored before the attempt goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transition {
    pub reason: ChangeReason,
}

impl Attempt {
    #[must_use]
    pub const fn new(state: SagaState) -> Self {
        Self {
            state,
            stage: Stage::Started,
        }
    }

    /// The next step; `None` when this attempt has nothing more to do. An order that is not
    /// settled by then waits for a later attempt.
    #[must_use]
    pub const fn next(&self) -> Option<Step> {
        match (self.stage, self.state.status) {
            (Stage::Stopped, _) => None,
            (_, OrderStatus::Confirmed) => self.next_shipment(),
            (Stage::Compensating | Stage::ReleaseFailed, _) | (_, OrderStatus::Failed) => {
                self.next_compensation()
            }
            (Stage::StockReserved, _) => Some(Step::Charge),
            // An earlier attempt may have charged: no stock moves before payment is asked.
            (Stage::Started, OrderStatus::PendingPayment) => Some(Step::QueryPayment),
            (Stage::Started | Stage::PaymentQueried, _) => Some(Step::Reserve),
        }
    }

    const fn next_shipment(&self) -> Option<Step> {
        if self.state.shipment_owed {
            Some(Step::Ship)
        } else {
            None
        }
    }

    const fn next_compensation(&self) -> Option<Step> {
        let releases =
            self.state.release_owed_epoch.is_some() && !matches!(self.stage, Stage::ReleaseFailed);
        if releases {
            Some(Step::Release)
        } else if self.state.refund_owed {
            Some(Step::Refund)
        } else {
            None
        }
    }

    /// The attempt after an outcome, and the transition to store, if the outcome makes one.
    #[must_use]
    pub const fn apply(self, outcome: StepOutcome) -> (Self, Option<Transition>) {
        let Some(step) = self.next() else {
            return self.enter(Stage::Stopped);
        };
        match (step, outcome) {
            (_, StepOutcome::Expired) if !self.state.is_final() => {
                self.fail(FailureReason::Expired, true)
            }
            (Step::QueryPayment, StepOutcome::Charged | StepOutcome::NotCharged) => {
                self.enter(Stage::PaymentQueried)
            }
            // An owed release does not wait until payment responds again.
            (Step::QueryPayment, StepOutcome::CallFailed(_)) => self.enter(Stage::Compensating),
            (Step::Reserve, StepOutcome::Reserved) => self.enter(Stage::StockReserved),
            // In a takeover, an earlier attempt's charge may still be on its way.
            (Step::Reserve, StepOutcome::InsufficientStock) => {
                self.fail(FailureReason::InsufficientStock, self.is_takeover())
            }
            (Step::Reserve, StepOutcome::UnknownProduct) => {
                self.fail(FailureReason::UnknownProduct, self.is_takeover())
            }
            (Step::Reserve, StepOutcome::CallFailed(failure)) => self.not_reserved(failure),
            (Step::Charge, StepOutcome::Charged) => self.confirm(),
            (Step::QueryPayment | Step::Charge, StepOutcome::Declined) => {
                self.fail(FailureReason::PaymentDeclined, false)
            }
            (Step::Charge, StepOutcome::CallFailed(failure)) => self.not_charged(failure),
            (Step::Release, StepOutcome::Released { units_returned }) => {
                self.released(units_returned)
            }
            (Step::Release, StepOutcome::CallFailed(_)) => self.enter(Stage::ReleaseFailed),
            (Step::Refund, StepOutcome::Refunded(outcome)) => self.refunded(outcome),
            (Step::Ship, StepOutcome::Shipped) => self.fulfilled(),
            // The attempt was fenced, a refund or a shipment failed, or the step cannot have this
            // outcome: a later attempt goes on.
            _ => self.enter(Stage::Stopped),
        }
    }

    const fn is_takeover(&self) -> bool {
        self.state.epoch > 1
    }

    const fn enter(self, stage: Stage) -> (Self, Option<Transition>) {
        (Self { stage, ..self }, None)
    }

    const fn transitioned(
        state: SagaState,
        reached: Stage,
        reason: ChangeReason,
    ) -> (Self, Option<Transition>) {
        let attempt = Self {
            state,
            stage: reached,
        };
        (attempt, Some(Transition { reason }))
    }

    const fn confirm(self) -> (Self, Option<Transition>) {
        let state = SagaState {
            status: OrderStatus::Confirmed,
            release_owed_epoch: None,
            ..self.state
        };
        Self::transitioned(state, Stage::Stopped, ChangeReason::Confirmed)
    }

    const fn fail(self, reason: FailureReason, refund_owed: bool) -> (Self, Option<Transition>) {
        let state = self.state.failed(reason, refund_owed);
        Self::transitioned(state, Stage::Compensating, ChangeReason::of_failure(reason))
    }

    const fn not_reserved(self, failure: CallFailure) -> (Self, Option<Transition>) {
        let status = match self.state.status {
            // The status stays, so that the next attempt asks payment first again: the order may
            // have been charged.
            OrderStatus::PendingPayment => OrderStatus::PendingPayment,
            _ => OrderStatus::PendingInventory,
        };
        let state = SagaState {
            status,
            ..self.state
        };
        Self::transitioned(state, Stage::Stopped, ChangeReason::of_inventory(failure))
    }

    const fn not_charged(self, failure: CallFailure) -> (Self, Option<Transition>) {
        let state = SagaState {
            status: OrderStatus::PendingPayment,
            release_owed_epoch: Some(self.state.epoch),
            ..self.state
        };
        Self::transitioned(
            state,
            Stage::Compensating,
            ChangeReason::of_payment(failure),
        )
    }

    const fn released(self, units_returned: bool) -> (Self, Option<Transition>) {
        let state = SagaState {
            release_owed_epoch: None,
            ..self.state
        };
        let reason = if units_returned {
            ChangeReason::StockReturned
        } else {
            ChangeReason::NoStockHeld
        };
        Self::transitioned(state, Stage::Compensating, reason)
    }

    const fn refunded(self, outcome: RefundOutcome) -> (Self, Option<Transition>) {
        let state = SagaState {
            refund_owed: false,
            ..self.state
        };
        Self::transitioned(state, Stage::Stopped, ChangeReason::of_refund(outcome))
    }

    const fn fulfilled(self) -> (Self, Option<Transition>) {
        let state = SagaState {
            shipment_owed: false,
            fulfilled: true,
            ..self.state
        };
        Self::transitioned(state, Stage::Stopped, ChangeReason::Fulfilled)
    }
}
