//! The calls that an attempt makes to other services, and how they end.

use strum::{IntoStaticStr, VariantArray};

/// A call that an attempt makes to another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Step {
    /// Ask payment for the outcome of an earlier attempt's charge.
    QueryPayment,
    Reserve,
    Charge,
    Release,
    /// Refund the charge, or forbid it if it was never made.
    Refund,
    /// Ship the goods that the order holds.
    Ship,
}

impl Step {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
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
    /// There is no usable answer. The service may have done what it was asked for, unless it
    /// rejected the call or was not reached.
    CallFailed(CallFailure),
    /// No step was made, because the order is older than the recovery bound.
    Expired,
}

impl StepOutcome {
    /// How the step's call with this outcome ended.
    #[must_use]
    pub const fn call_result(self, step: Step) -> CallResult {
        match self {
            // Payment answered the question.
            Self::Declined if matches!(step, Step::QueryPayment) => CallResult::Ok,
            Self::Reserved
            | Self::Charged
            | Self::NotCharged
            | Self::Released { .. }
            | Self::Refunded(_)
            | Self::Shipped => CallResult::Ok,
            Self::InsufficientStock
            | Self::UnknownProduct
            | Self::Fenced
            | Self::Declined
            | Self::Expired
            | Self::CallFailed(CallFailure::Rejected) => CallResult::Rejected,
            Self::CallFailed(CallFailure::TimedOut) => CallResult::TimedOut,
            Self::CallFailed(CallFailure::ConnectionLost) => CallResult::ConnectionLost,
            Self::CallFailed(CallFailure::ConnectionRefused) => CallResult::Refused,
            Self::CallFailed(CallFailure::NotCalled) => CallResult::NotCalled,
            Self::CallFailed(CallFailure::Failed) => CallResult::Failed,
        }
    }
}

/// How a call ended, as the events of its order show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum CallResult {
    Ok,
    /// The service answered that it does not do this.
    Rejected,
    TimedOut,
    ConnectionLost,
    /// No connection could be opened.
    Refused,
    NotCalled,
    Failed,
}

impl CallResult {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The text on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
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
