//! Why an order changed: the reasons of its events.

use strum::{Display, IntoStaticStr, VariantArray};

use super::step::{CallFailure, RefundOutcome};
use crate::api::FailureReason;

/// The reason of an order's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum ChangeReason {
    Placed,
    InventoryTimedOut,
    InventoryConnectionLost,
    InventoryConnectionRefused,
    InventoryNotCalled,
    InventoryRejected,
    InventoryFailed,
    PaymentTimedOut,
    PaymentConnectionLost,
    PaymentConnectionRefused,
    PaymentNotCalled,
    PaymentRejected,
    PaymentFailed,
    Confirmed,
    InsufficientStock,
    UnknownProduct,
    PaymentDeclined,
    Expired,
    Cancelled,
    StockReturned,
    NoStockHeld,
    PaymentRefunded,
    ChargeForbidden,
    NothingCharged,
    FulfilmentRequested,
    Fulfilled,
}

impl ChangeReason {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire and in the database: stable, in kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The reason of a change that follows a failed call to inventory.
    pub(super) const fn of_inventory(failure: CallFailure) -> Self {
        match failure {
            CallFailure::TimedOut => Self::InventoryTimedOut,
            CallFailure::ConnectionLost => Self::InventoryConnectionLost,
            CallFailure::ConnectionRefused => Self::InventoryConnectionRefused,
            CallFailure::NotCalled => Self::InventoryNotCalled,
            CallFailure::Rejected => Self::InventoryRejected,
            CallFailure::Failed => Self::InventoryFailed,
        }
    }

    /// The reason of a change that follows a failed call to payment.
    pub(super) const fn of_payment(failure: CallFailure) -> Self {
        match failure {
            CallFailure::TimedOut => Self::PaymentTimedOut,
            CallFailure::ConnectionLost => Self::PaymentConnectionLost,
            CallFailure::ConnectionRefused => Self::PaymentConnectionRefused,
            CallFailure::NotCalled => Self::PaymentNotCalled,
            CallFailure::Rejected => Self::PaymentRejected,
            CallFailure::Failed => Self::PaymentFailed,
        }
    }

    /// The reason of a change that fails the order.
    pub(super) const fn of_failure(reason: FailureReason) -> Self {
        match reason {
            FailureReason::InsufficientStock => Self::InsufficientStock,
            FailureReason::UnknownProduct => Self::UnknownProduct,
            FailureReason::PaymentDeclined => Self::PaymentDeclined,
            FailureReason::Expired => Self::Expired,
            FailureReason::Cancelled => Self::Cancelled,
        }
    }

    /// The reason of a change that follows a refund.
    pub(super) const fn of_refund(outcome: RefundOutcome) -> Self {
        match outcome {
            RefundOutcome::Refunded => Self::PaymentRefunded,
            RefundOutcome::ChargeForbidden => Self::ChargeForbidden,
            RefundOutcome::NothingCharged => Self::NothingCharged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_stored_under_one_name_in_the_order_and_in_its_event() {
        for reason in FailureReason::ALL {
            assert_eq!(ChangeReason::of_failure(*reason).as_str(), reason.as_str());
        }
    }
}
