//! Which rows of an order may be deleted. Pure rules, which the services and the model in
//! `tests/model` share.
//!
//! Nothing changes an order that has failed and owes nothing, or that is fulfilled. Only a message
//! that was sent before could still act on its rows. So each service refuses messages that arrive
//! long after their deadline (`platform::deadline`), and an order is kept for much longer.

use std::time::Duration;

use uuid::Uuid;

use super::ledger::ReservationState;
use super::saga::SagaState;
use crate::api::{Forget, Forgotten, OrderStatus, PaymentStatus, RefusedOrder};

/// An order is kept for at least this long after its last change. A service refuses late messages
/// long before that (`platform::deadline::MAX_LATENESS`).
pub const MIN_RETENTION: Duration = Duration::from_secs(86_400);

/// How an order ended whose rows may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It failed, and owes neither a release nor a refund.
    Failed,
    /// Its goods have left.
    Fulfilled,
}

impl Ending {
    /// Returns how the order ended; `None` while something can still change it. A confirmed order
    /// can be cancelled or fulfilled.
    #[must_use]
    pub fn of(order: &SagaState) -> Option<Self> {
        match order.status {
            _ if !order.is_settled() => None,
            OrderStatus::Failed => Some(Self::Failed),
            OrderStatus::Confirmed if order.fulfilled => Some(Self::Fulfilled),
            _ => None,
        }
    }

    /// Returns how the request says that one of its orders ended.
    #[must_use]
    pub fn named_in(request: &Forget, order_id: Uuid) -> Self {
        if request.fulfilled.contains(&order_id) {
            Self::Fulfilled
        } else {
            Self::Failed
        }
    }
}

/// A service's decision about its row of an order that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetPlan {
    /// There is no row: it was deleted before, or there never was one.
    Nothing,
    Delete,
    /// The row contradicts the order's ending. Deleting it would hide that.
    Refuse,
}

/// Decides about the order's row of the ledger.
#[must_use]
pub const fn forget_reservation(row: Option<ReservationState>, ending: Ending) -> ForgetPlan {
    match (row, ending) {
        (None, _) => ForgetPlan::Nothing,
        (Some(ReservationState::Released), Ending::Failed)
        | (Some(ReservationState::Shipped), Ending::Fulfilled) => ForgetPlan::Delete,
        (Some(_), _) => ForgetPlan::Refuse,
    }
}

/// Decides about the order's payment.
#[must_use]
pub const fn forget_payment(row: Option<PaymentStatus>, ending: Ending) -> ForgetPlan {
    match (row, ending) {
        (None, _) => ForgetPlan::Nothing,
        (
            Some(PaymentStatus::Failed | PaymentStatus::Refunded | PaymentStatus::Voided),
            Ending::Failed,
        )
        | (Some(PaymentStatus::Success), Ending::Fulfilled) => ForgetPlan::Delete,
        (Some(_), _) => ForgetPlan::Refuse,
    }
}

/// A service's row of an order that leaves.
pub struct RowOfOrder {
    pub order_id: Uuid,
    /// As the row has it.
    pub state: String,
    /// Size of the row, without indexes.
    pub bytes: i64,
    pub plan: ForgetPlan,
}

/// Returns the orders whose rows are deleted, and the answer about all rows.
#[must_use]
pub fn answer_about(rows: impl IntoIterator<Item = RowOfOrder>) -> (Vec<Uuid>, Forgotten) {
    let mut deleted = Vec::new();
    let mut forgotten = Forgotten::default();
    for row in rows {
        if row.plan == ForgetPlan::Delete {
            deleted.push(row.order_id);
            forgotten.rows += 1;
            forgotten.bytes += row.bytes;
        } else {
            forgotten.refused.push(RefusedOrder {
                order_id: row.order_id,
                state: row.state,
            });
        }
    }
    (deleted, forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_orders_that_nothing_can_change_any_more_have_ended() {
        let placed = SagaState::PLACED;
        let confirmed = SagaState {
            status: OrderStatus::Confirmed,
            ..placed
        };
        let failed = SagaState {
            status: OrderStatus::Failed,
            ..placed
        };
        for (state, ending) in [
            (placed, None),
            (confirmed, None),
            (
                SagaState {
                    shipment_owed: true,
                    ..confirmed
                },
                None,
            ),
            (
                SagaState {
                    fulfilled: true,
                    ..confirmed
                },
                Some(Ending::Fulfilled),
            ),
            (failed, Some(Ending::Failed)),
            (
                SagaState {
                    refund_owed: true,
                    ..failed
                },
                None,
            ),
            (
                SagaState {
                    release_owed_epoch: Some(1),
                    ..failed
                },
                None,
            ),
        ] {
            assert_eq!(Ending::of(&state), ending, "{state:?}");
        }
    }

    #[test]
    fn a_row_is_deleted_only_if_it_agrees_with_the_ending() {
        use ReservationState::{Held, Released, Shipped};
        for (row, failed, fulfilled) in [
            (None, ForgetPlan::Nothing, ForgetPlan::Nothing),
            (Some(Held), ForgetPlan::Refuse, ForgetPlan::Refuse),
            (Some(Released), ForgetPlan::Delete, ForgetPlan::Refuse),
            (Some(Shipped), ForgetPlan::Refuse, ForgetPlan::Delete),
        ] {
            assert_eq!(forget_reservation(row, Ending::Failed), failed, "{row:?}");
            assert_eq!(
                forget_reservation(row, Ending::Fulfilled),
                fulfilled,
                "{row:?}"
            );
        }
        assert_eq!(forget_payment(None, Ending::Failed), ForgetPlan::Nothing);
        for status in PaymentStatus::ALL {
            let (failed, fulfilled) = match status {
                PaymentStatus::Success => (ForgetPlan::Refuse, ForgetPlan::Delete),
                PaymentStatus::Pending => (ForgetPlan::Refuse, ForgetPlan::Refuse),
                _ => (ForgetPlan::Delete, ForgetPlan::Refuse),
            };
            let plans = [Ending::Failed, Ending::Fulfilled]
                .map(|ending| forget_payment(Some(*status), ending));
            assert_eq!(plans, [failed, fulfilled], "{status}");
        }
    }
}
