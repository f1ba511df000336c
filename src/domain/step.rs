//! The calls that an attempt makes to other services, and how they end.

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
    /// Let the goods leave that the order holds.
    Ship,
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
    Released {
        /// Whether this call gave units back. The order may have held none, or an earlier call
        /// gave them back.
        units_returned: bool,
    },
    Refunded(RefundOutcome),
    Shipped,
    /// There is no usable answer. Unless the call was not made or could not connect, the service
    /// may have done what it asks for.
    CallFailed(CallFailure),
    /// No step was made, because the order is older than the recovery bound.
    Expired,
}

/// How a refund ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundOutcome {
    /// The charge was refunded, by this call or an earlier one.
    Refunded,
    /// There was no charge, and a later one is forbidden.
    ChargeForbidden,
    /// The charge had been declined.
    NothingCharged,
}

impl RefundOutcome {
    /// The reason of the change that follows: stable, in kebab-case.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Refunded => "payment-refunded",
            Self::ChargeForbidden => "charge-forbidden",
            Self::NothingCharged => "nothing-charged",
        }
    }
}

/// Why a call has no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// No answer came before the deadline.
    TimedOut,
    /// The connection ended before the answer did.
    ConnectionLost,
    /// No connection could be opened.
    ConnectionRefused,
    /// The circuit breaker was open, or the bulkhead full. No call was made.
    NotCalled,
    /// The service answered that it does not do this.
    Rejected,
    /// The service answered with an error of its own, or not in the expected form.
    Failed,
}

impl CallFailure {
    /// The reason of a change that follows a failed call to inventory: stable, in kebab-case.
    pub(super) const fn of_inventory(self) -> &'static str {
        match self {
            Self::TimedOut => "inventory-timed-out",
            Self::ConnectionLost => "inventory-connection-lost",
            Self::ConnectionRefused => "inventory-connection-refused",
            Self::NotCalled => "inventory-not-called",
            Self::Rejected => "inventory-rejected",
            Self::Failed => "inventory-failed",
        }
    }

    /// The reason of a change that follows a failed call to payment: stable, in kebab-case.
    pub(super) const fn of_payment(self) -> &'static str {
        match self {
            Self::TimedOut => "payment-timed-out",
            Self::ConnectionLost => "payment-connection-lost",
            Self::ConnectionRefused => "payment-connection-refused",
            Self::NotCalled => "payment-not-called",
            Self::Rejected => "payment-rejected",
            Self::Failed => "payment-failed",
        }
    }
}
