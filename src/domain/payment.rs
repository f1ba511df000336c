//! The rules of voids and of amounts. Pure rules, which the service and the model in `tests/model`
//! share.
//!
//! A repeated charge, also one after a void, gets the stored payment as its answer. The gateway's
//! idempotency key makes it safe to ask the gateway twice.

use rust_decimal::Decimal;

use crate::api::PaymentStatus;

/// Whether a charge of the amount `requested` contradicts the stored payment. A void that was
/// stored before any charge had no amount, so it contradicts none.
#[must_use]
pub fn is_mismatch(requested: Option<Decimal>, stored: Decimal, status: PaymentStatus) -> bool {
    status != PaymentStatus::Voided && requested.is_some_and(|requested| requested != stored)
}

/// The status after a void. Without a stored payment, the void leaves a tombstone, which a charge
/// that arrives later finds.
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
    fn another_amount_contradicts_every_payment_except_a_tombstone() {
        let [stored, other] = [Decimal::new(9999, 2), Decimal::new(5, 0)];
        for status in PaymentStatus::ALL {
            assert!(
                !is_mismatch(None, stored, *status),
                "no amount was requested"
            );
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
    fn a_void_refunds_a_success_forbids_a_charge_and_is_idempotent() {
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
