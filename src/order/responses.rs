//! Converts the store's rows to wire types, and an order to an HTTP response.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde_json::Value;

use super::store::{ChangeRow, EventRow, OrderRow};
use crate::api::{
    FailureReason, Obligation, Order, OrderChange, OrderEvent, OrderStatus, OrderStep,
};
use crate::domain::saga::SagaState;
use crate::platform::http::problem::Problem;
use crate::platform::observability::trace_context;

/// After this time the client of a pending order should ask for it again.
pub const RETRY_AFTER_SECONDS: u32 = 5;

impl From<OrderRow> for Order {
    fn from(row: OrderRow) -> Self {
        let state = row.state().ok();
        let owes = [
            (row.release_owed_epoch.is_some(), Obligation::Release),
            (row.refund_owed, Obligation::Refund),
            (row.shipment_owed, Obligation::Shipment),
        ];
        let settled = state.is_some_and(|state| state.is_settled());
        Self {
            id: row.id,
            product_id: row.product_id,
            quantity: row.quantity,
            message: state
                .map_or_else(|| row.status.to_string(), |state| message(state).to_owned()),
            settled,
            owes: owes
                .into_iter()
                .filter(|(is_owed, _)| *is_owed)
                .map(|(_, obligation)| obligation)
                .collect(),
            owed_since: row.owed_since,
            next_attempt_at: (!settled).then_some(row.next_attempt_at),
            last_failure: row.last_failure.and_then(step),
            fulfilled_at: row.fulfilled_at,
            status: row.status.to_string(),
            failure_reason: row.failure_reason.map(|reason| reason.to_string()),
            created_at: row.created_at,
            updated_at: row.updated_at,
            trace_id: row
                .traceparent
                .as_deref()
                .and_then(trace_context::trace_id_of),
        }
    }
}

/// The call as it is stored; `None` when a newer version wrote it in another form.
fn step(stored: Value) -> Option<OrderStep> {
    serde_json::from_value(stored).ok()
}

const fn message(state: SagaState) -> &'static str {
    match (state.status, state.failure_reason) {
        (OrderStatus::Confirmed, _) if state.fulfilled => "Order fulfilled",
        (OrderStatus::Confirmed, _) if state.shipment_owed => {
            "Order confirmed: its goods are about to leave"
        }
        (OrderStatus::Confirmed, _) => "Order confirmed",
        (OrderStatus::Failed, Some(FailureReason::InsufficientStock)) => {
            "Order failed: not enough stock"
        }
        (OrderStatus::Failed, Some(FailureReason::UnknownProduct)) => {
            "Order failed: there is no such product"
        }
        (OrderStatus::Failed, Some(FailureReason::PaymentDeclined)) => {
            "Order failed: the payment was declined"
        }
        (OrderStatus::Failed, Some(FailureReason::Expired)) => {
            "Order failed: it could not be finished in time"
        }
        (OrderStatus::Failed, Some(FailureReason::Cancelled)) => "Order cancelled",
        (OrderStatus::Failed, None) => "Order failed",
        (OrderStatus::Pending | OrderStatus::PendingInventory | OrderStatus::PendingPayment, _) => {
            "Order is being processed"
        }
    }
}

impl From<ChangeRow> for OrderChange {
    fn from(change: ChangeRow) -> Self {
        let ChangeRow {
            product_id,
            quantity,
            status,
            created_at,
            at,
            trace_id,
            reason,
            epoch,
            ..
        } = change;
        // The row has the order's reason as of now. It belongs to this change if the change is the
        // failure, because a failed order never changes its reason.
        let failure_reason = change
            .failure_reason
            .filter(|_| status.known() == Ok(OrderStatus::Failed))
            .map(|reason| reason.to_string());
        let id = change.order_id;
        Self {
            id,
            product_id,
            quantity,
            status: status.to_string(),
            failure_reason,
            created_at,
            updated_at: at,
            trace_id,
            reason,
            attempt: epoch,
        }
    }
}

impl From<EventRow> for OrderEvent {
    fn from(row: EventRow) -> Self {
        let EventRow {
            at,
            status,
            reason,
            epoch,
            trace_id,
            steps,
        } = row;
        let steps = match steps {
            Value::Array(steps) => steps.into_iter().filter_map(step).collect(),
            _ => Vec::new(),
        };
        Self {
            at,
            status: status.to_string(),
            reason,
            attempt: epoch,
            trace_id,
            steps,
        }
    }
}

/// The response that an order's status calls for.
///
/// # Errors
/// The problem that a failed order is answered with; an internal error for an order whose status
/// this version does not know.
pub fn respond(row: OrderRow) -> Result<HttpResponse, Problem> {
    let SagaState {
        status,
        failure_reason,
        ..
    } = row.state().map_err(Problem::internal)?;
    let order = Order::from(row);
    let location = (header::LOCATION, format!("/orders/{}", order.id));
    match status {
        OrderStatus::Confirmed => Ok(HttpResponse::Created().insert_header(location).json(order)),
        OrderStatus::Failed => Err(failed(&order, failure_reason)),
        OrderStatus::Pending | OrderStatus::PendingInventory | OrderStatus::PendingPayment => {
            Ok(HttpResponse::Accepted()
                .insert_header(location)
                .insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS))
                .json(order))
        }
    }
}

/// The problem of a failed order. A reason that this version does not know is a conflict, with a
/// code that says no more than that the order failed.
fn failed(order: &Order, reason: Option<FailureReason>) -> Problem {
    let (status, code) = match reason {
        Some(
            reason @ (FailureReason::InsufficientStock
            | FailureReason::Expired
            | FailureReason::Cancelled),
        ) => (StatusCode::CONFLICT, reason.as_str()),
        Some(reason @ FailureReason::UnknownProduct) => {
            (StatusCode::UNPROCESSABLE_ENTITY, reason.as_str())
        }
        Some(reason @ FailureReason::PaymentDeclined) => {
            (StatusCode::PAYMENT_REQUIRED, reason.as_str())
        }
        None => (StatusCode::CONFLICT, "order-failed"),
    };
    Problem::new(status, code, format!("{}.", order.message)).with_order_id(order.id)
}
