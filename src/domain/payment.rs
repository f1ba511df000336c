//! What a charge and a void mean, given what is stored for the order. Pure: the service and the
//! model share them.

use rust_decimal::Decimal;

use crate::api::PaymentStatus;

/// What a charge has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargePlan {
    /// Ask the gateway, and store its decision.
    Decide,
    /// Answer with what is stored: a second charge never happens, nor one after a void.
    Keep(PaymentStatus),
}

#[must_use]
pub const fn charge(stored: Option<PaymentStatus>) -> ChargePlan {
    match stored {
        None => ChargePlan::Decide,
        Some(status) => ChargePlan::Keep(status),
    }
}

/// Whether a charge that names this amount contradicts the stored payment. The tombstone of a void
/// was stored without an amount: it answers every charge.
#[must_use]
pub fn is_mismatch(named: Option<Decimal>, stored: Decimal, status: PaymentStatus) -> bool {
    status != PaymentStatus::Voided && named.is_some_and(|named| named != stored)
}

/// The status after a void; without a payment it is a tombstone, which a late charge finds.
#[must_use]
pub const fn void(stored: Option<PaymentStatus>) -> PaymentStatus {
    match stored {
        None | Some(PaymentStatus::Pending) => PaymentStatus::Voided,
        Some(PaymentStatus::Success) => PaymentStatus::Refunded,
        Some(status) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PaymentStatus::{Failed, Pending, Refunded, Success, Voided};

    #[test]
    fn only_the_first_charge_decides() {
        assert_eq!(charge(None), ChargePlan::Decide);
        for status in PaymentStatus::ALL {
            assert_eq!(charge(Some(*status)), ChargePlan::Keep(*status));
        }
    }

    #[test]
    fn another_amount_contradicts_any_payment_but_a_tombstone() {
        let [stored, other] = [Decimal::new(9999, 2), Decimal::new(5, 0)];
        for status in PaymentStatus::ALL {
            assert!(!is_mismatch(None, stored, *status), "no amount was named");
            assert!(
                !is_mismatch(Some(Decimal::new(99_990, 3)), stored, *status),
                "the same amount"
            );
            assert_eq!(
                is_mismatch(Some(other), stored, *status),
                *status != Voided,
                "{status}"
            );
        }
    }

    #[test]
    fn a_void_refunds_a_success_forbids_a_later_charge_and_is_idempotent() {
        let table = [
            (None, Voided),
            (Some(Pending), Voided),
            (Some(Success), Refunded),
            (Some(Failed), Failed),
        ];
        for (stored, after) in table {
            assert_eq!(void(stored), after);
            assert_eq!(void(Some(after)), after);
        }
        assert_eq!(void(Some(Refunded)), Refunded);
    }
}
