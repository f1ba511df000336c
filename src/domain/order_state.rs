//! The state of an order, and the changes that operators ask for: to cancel it, or to fulfil it.

use crate::api::{FailureReason, OrderStatus};

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
    /// Inventory must still ship what the order holds. The order can no longer be cancelled.
    pub shipment_owed: bool,
    /// The goods have left.
    pub fulfilled: bool,
}

/// Why an order is not cancelled or fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    AlreadyFailed,
    /// The goods have left, or are about to.
    AlreadyFulfilled,
    NotConfirmed,
}

impl SagaState {
    /// A new order, whose request is its first attempt.
    pub const PLACED: Self = Self {
        status: OrderStatus::Pending,
        failure_reason: None,
        epoch: 1,
        release_owed_epoch: None,
        refund_owed: false,
        shipment_owed: false,
        fulfilled: false,
    };

    /// Whether the order has ended and owes nothing.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.is_final() && !self.owes_something()
    }

    /// Whether a release, a refund or a shipment is owed.
    #[must_use]
    pub const fn owes_something(&self) -> bool {
        self.release_owed_epoch.is_some() || self.refund_owed || self.shipment_owed
    }

    /// Whether an attempt may give the order this status next: an attempt never leaves a final
    /// status.
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

    /// The state after a failure.
    #[must_use]
    pub const fn failed(self, reason: FailureReason, refund_owed: bool) -> Self {
        Self {
            status: OrderStatus::Failed,
            failure_reason: Some(reason),
            release_owed_epoch: Some(self.epoch),
            refund_owed,
            ..self
        }
    }

    /// The state after the order was cancelled: it has failed, and gives back its stock and its
    /// money. `None` if it was cancelled before.
    ///
    /// The epoch rises, as at a takeover: an attempt in progress loses its compare-and-set, and so
    /// does a confirmation that was about to be stored.
    ///
    /// # Errors
    /// When the order has failed for another reason, or its goods have left or are about to.
    pub const fn cancelled(self) -> Result<Option<Self>, Refusal> {
        match (self.status, self.failure_reason) {
            (OrderStatus::Failed, Some(FailureReason::Cancelled)) => Ok(None),
            (OrderStatus::Failed, _) => Err(Refusal::AlreadyFailed),
            _ if self.shipment_owed || self.fulfilled => Err(Refusal::AlreadyFulfilled),
            _ => Ok(Some(
                self.taken_over().failed(FailureReason::Cancelled, true),
            )),
        }
    }

    /// The state after an operator asked to fulfil the order: a shipment is owed. `None` if it is
    /// owed already, or the goods have left.
    ///
    /// # Errors
    /// When the order is not confirmed.
    pub const fn with_shipment_owed(self) -> Result<Option<Self>, Refusal> {
        match self.status {
            OrderStatus::Confirmed if self.shipment_owed || self.fulfilled => Ok(None),
            OrderStatus::Confirmed => Ok(Some(Self {
                shipment_owed: true,
                ..self.taken_over()
            })),
            _ => Err(Refusal::NotConfirmed),
        }
    }

    const fn taken_over(self) -> Self {
        Self {
            epoch: self.epoch + 1,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIRMED: SagaState = SagaState {
        status: OrderStatus::Confirmed,
        epoch: 2,
        ..SagaState::PLACED
    };

    fn failed(reason: FailureReason) -> SagaState {
        CONFIRMED.failed(reason, false)
    }

    #[test]
    fn a_cancelled_order_owes_a_release_and_a_refund_at_a_new_epoch() {
        for status in OrderStatus::ALL {
            let state = SagaState {
                status: *status,
                ..CONFIRMED
            };
            if *status == OrderStatus::Failed {
                continue;
            }
            let cancelled = state.cancelled().unwrap().unwrap();
            let expected = SagaState {
                status: OrderStatus::Failed,
                failure_reason: Some(FailureReason::Cancelled),
                epoch: 3,
                release_owed_epoch: Some(3),
                refund_owed: true,
                shipment_owed: false,
                fulfilled: false,
            };
            assert_eq!(cancelled, expected, "{status}");
            assert_eq!(cancelled.cancelled(), Ok(None), "a second time");
        }
    }

    #[test]
    fn an_order_that_failed_or_whose_goods_leave_cannot_be_cancelled() {
        for reason in FailureReason::ALL {
            let expected = match reason {
                FailureReason::Cancelled => Ok(None),
                _ => Err(Refusal::AlreadyFailed),
            };
            assert_eq!(failed(*reason).cancelled(), expected, "{reason}");
        }
        let of_newer_version = SagaState {
            failure_reason: None,
            ..failed(FailureReason::Expired)
        };
        assert_eq!(of_newer_version.cancelled(), Err(Refusal::AlreadyFailed));
        let leaving = CONFIRMED.with_shipment_owed().unwrap().unwrap();
        let left = SagaState {
            shipment_owed: false,
            fulfilled: true,
            ..leaving
        };
        for state in [leaving, left] {
            assert_eq!(state.cancelled(), Err(Refusal::AlreadyFulfilled));
        }
    }

    #[test]
    fn only_a_confirmed_order_ships_and_once() {
        let leaving = CONFIRMED.with_shipment_owed().unwrap().unwrap();
        assert_eq!((leaving.epoch, leaving.shipment_owed), (3, true));
        assert!(!leaving.is_settled());
        assert_eq!(leaving.with_shipment_owed(), Ok(None));
        for status in OrderStatus::ALL {
            let state = SagaState {
                status: *status,
                ..CONFIRMED
            };
            if *status != OrderStatus::Confirmed {
                assert_eq!(state.with_shipment_owed(), Err(Refusal::NotConfirmed));
            }
        }
    }
}
