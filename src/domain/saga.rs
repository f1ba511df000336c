//! The saga of an order: pure rules, which the service and the model in `tests/model` share.
//!
//! An [`Attempt`] is one executor's try to finish an order: the request that placed the order
//! (epoch 1), or a recovery worker that took it over (a higher epoch). The executor performs the
//! step that [`Attempt::next`] returns, passes the result to [`Attempt::apply`], and stores the
//! transition that comes back before it goes on.

use crate::api::{FailureReason, OrderStatus};

#[cfg(test)]
mod tests;

/// The epoch at which a failed order releases its stock.
///
/// Such a release gives back what the order holds, whatever epoch reserved it. Inventory rejects
/// every reserve that arrives after it as stale. So a failed order that is settled holds nothing,
/// and never will.
pub const MAX_EPOCH: i32 = i32::MAX;

/// The part of an order's row that decides how the order goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SagaState {
    pub status: OrderStatus,
    /// `None` as well where a newer version stored a reason that this version does not know.
    pub failure_reason: Option<FailureReason>,
    /// The fencing token. Each takeover raises it.
    pub epoch: i32,
    /// The epoch at which a release became owed; `None` when no release is owed.
    pub release_owed_epoch: Option<i32>,
    /// Payment must still refund the charge, or forbid it if it was never made.
    pub refund_owed: bool,
}

impl SagaState {
    /// A new order, whose request is its first attempt.
    pub const PLACED: Self = Self {
        status: OrderStatus::Pending,
        failure_reason: None,
        epoch: 1,
        release_owed_epoch: None,
        refund_owed: false,
    };

    /// Whether the order has ended and owes nothing.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.is_final() && self.release_owed_epoch.is_none() && !self.refund_owed
    }

    /// Whether the order may have this status next: a final status is never left.
    #[must_use]
    pub fn may_become(&self, status: OrderStatus) -> bool {
        !self.is_final() || self.status == status
    }

    /// The epoch that a release is sent with.
    #[must_use]
    pub const fn release_epoch(&self) -> i32 {
        if matches!(self.status, OrderStatus::Failed) {
            MAX_EPOCH
        } else {
            self.epoch
        }
    }

    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.status.is_final()
    }

    const fn failed(self, reason: FailureReason, refund_owed: bool) -> Self {
        Self {
            status: OrderStatus::Failed,
            failure_reason: Some(reason),
            epoch: self.epoch,
            release_owed_epoch: Some(self.epoch),
            refund_owed,
        }
    }
}

/// A call that an attempt makes to another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask payment for the outcome of an earlier attempt's charge.
    QueryPayment,
    Reserve,
    Charge,
    Release,
    /// Refund the charge, or forbid it if it was never made.
    Refund,
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepOutcome {
    Reserved,
    InsufficientStock,
    UnknownProduct,
    /// Inventory rejected the epoch as stale.
    Fenced,
    Charged,
    Declined,
    /// Payment has no decided charge. One may still be on its way.
    NotCharged,
    Released,
    /// The charge was refunded or forbidden.
    Refunded,
    /// The call failed, or was not made. The service may have done what a failed call asks for.
    OutcomeUnknown,
    /// No step was made, because the order is older than the recovery bound.
    Expired,
}

/// How far an attempt has come. It is kept in memory only and ends with its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Started,
    /// Payment did not decline: the next step reserves stock.
    PaymentQueried,
    StockReserved,
    /// Only what the order owes is left.
    Compensating,
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
    /// Stable, in kebab-case.
    pub reason: &'static str,
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
            (Stage::Stopped, _) | (_, OrderStatus::Confirmed) => None,
            (Stage::Compensating, _) | (_, OrderStatus::Failed) => self.next_compensation(),
            (Stage::StockReserved, _) => Some(Step::Charge),
            // An earlier attempt may have charged: no stock moves before payment is asked.
            (Stage::Started, OrderStatus::PendingPayment) => Some(Step::QueryPayment),
            (Stage::Started | Stage::PaymentQueried, _) => Some(Step::Reserve),
        }
    }

    const fn next_compensation(&self) -> Option<Step> {
        match (self.state.release_owed_epoch, self.state.refund_owed) {
            (Some(_), _) => Some(Step::Release),
            (None, true) => Some(Step::Refund),
            (None, false) => None,
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
            (Step::QueryPayment, StepOutcome::OutcomeUnknown) => self.enter(Stage::Compensating),
            (Step::Reserve, StepOutcome::Reserved) => self.enter(Stage::StockReserved),
            // In a takeover, an earlier attempt's charge may still be on its way.
            (Step::Reserve, StepOutcome::InsufficientStock) => {
                self.fail(FailureReason::InsufficientStock, self.is_takeover())
            }
            (Step::Reserve, StepOutcome::UnknownProduct) => {
                self.fail(FailureReason::UnknownProduct, self.is_takeover())
            }
            (Step::Reserve, StepOutcome::OutcomeUnknown) => self.inventory_unavailable(),
            (Step::Charge, StepOutcome::Charged) => self.confirm(),
            (Step::QueryPayment | Step::Charge, StepOutcome::Declined) => {
                self.fail(FailureReason::PaymentDeclined, false)
            }
            (Step::Charge, StepOutcome::OutcomeUnknown) => self.payment_unavailable(),
            (Step::Release, StepOutcome::Released) => self.released(),
            (Step::Refund, StepOutcome::Refunded) => self.refunded(),
            // The attempt was fenced, a compensation failed, or the step cannot have this
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
        reason: &'static str,
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
        Self::transitioned(state, Stage::Stopped, "confirmed")
    }

    const fn fail(self, reason: FailureReason, refund_owed: bool) -> (Self, Option<Transition>) {
        let state = self.state.failed(reason, refund_owed);
        Self::transitioned(state, Stage::Compensating, reason.as_str())
    }

    const fn inventory_unavailable(self) -> (Self, Option<Transition>) {
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
        Self::transitioned(state, Stage::Stopped, "inventory-unavailable")
    }

    const fn payment_unavailable(self) -> (Self, Option<Transition>) {
        let state = SagaState {
            status: OrderStatus::PendingPayment,
            release_owed_epoch: Some(self.state.epoch),
            ..self.state
        };
        Self::transitioned(state, Stage::Compensating, "payment-unavailable")
    }

    const fn released(self) -> (Self, Option<Transition>) {
        let state = SagaState {
            release_owed_epoch: None,
            ..self.state
        };
        Self::transitioned(state, Stage::Compensating, "stock-returned")
    }

    const fn refunded(self) -> (Self, Option<Transition>) {
        let state = SagaState {
            refund_owed: false,
            ..self.state
        };
        Self::transitioned(state, Stage::Compensating, "payment-voided")
    }
}
