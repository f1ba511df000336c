//! Which changes of an order are allowed, and which were acknowledged.

use valerix::api::{FailureReason, OrderStatus};
use valerix::domain::saga::SagaState;

/// Whether the operators' changes were stored, and so acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Acknowledged {
    /// The status that the order was cancelled in.
    pub cancelled_in: Option<OrderStatus>,
    pub shipment: bool,
}

pub fn is_cancelled(order: SagaState) -> bool {
    order.status == OrderStatus::Failed && order.failure_reason == Some(FailureReason::Cancelled)
}

/// Whether an attempt may change an order so: it never returns to an earlier status, a final
/// status and the reason of a failure stay, and a settled order stays as it is. Goods that are
/// about to leave do leave.
pub fn attempts_may(from: SagaState, to: SagaState) -> bool {
    use OrderStatus as Status;
    match (from.status, to.status) {
        (Status::Failed, Status::Failed) => {
            from.failure_reason == to.failure_reason && !from.is_settled()
        }
        (Status::Confirmed, Status::Confirmed) => {
            from.shipment_owed && (to.shipment_owed || to.fulfilled)
        }
        (Status::Confirmed | Status::Failed, _)
        | (_, Status::Pending)
        | (Status::PendingPayment, Status::PendingInventory) => false,
        (Status::Pending | Status::PendingInventory | Status::PendingPayment, _) => true,
    }
}

/// Whether operators may change an order so. Only a cancellation leaves a final status, and only
/// that of a confirmed order whose goods are still there.
pub fn operators_may(from: SagaState, to: SagaState) -> bool {
    match to.status {
        OrderStatus::Failed => {
            is_cancelled(to)
                && from.status != OrderStatus::Failed
                && !from.shipment_owed
                && !from.fulfilled
        }
        OrderStatus::Confirmed => {
            to.shipment_owed && from.status == OrderStatus::Confirmed && from.is_settled()
        }
        _ => false,
    }
}
