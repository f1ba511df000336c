//! From the store's rows to what a customer sees: the wire types, and the HTTP answer of an order.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use super::store::{ChangeRow, EventRow, OrderRow};
use crate::api::{FailureReason, Obligation, Order, OrderChange, OrderEvent, OrderStatus};
use crate::domain::saga::State;
use crate::platform::http::problem::Problem;
use crate::platform::observability::trace_context;

/// How long a customer with a pending order should wait before asking again.
const RETRY_AFTER_SECONDS: u32 = 5;

impl From<OrderRow> for Order {
    fn from(row: OrderRow) -> Self {
        let state = row.state().ok();
        let owes = [
            (row.release_due.is_some(), Obligation::Release),
            (row.void_due, Obligation::Refund),
        ];
        Self {
            id: row.id,
            product_id: row.product_id,
            quantity: row.quantity,
            message: state.map_or_else(
                || row.status.clone(),
                |state| message(state.status, state.failure_reason),
            ),
            settled: state.is_some_and(|state| state.is_settled()),
            owes: owes
                .into_iter()
                .filter(|(is_owed, _)| *is_owed)
                .map(|(_, obligation)| obligation)
                .collect(),
            status: row.status,
            failure_reason: row.failure_reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
            trace_id: row
                .traceparent
                .as_deref()
                .and_then(trace_context::trace_id_of),
        }
    }
}

fn message(status: OrderStatus, reason: Option<FailureReason>) -> String {
    let text = match (status, reason) {
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
        (OrderStatus::Failed, None) => "Order failed",
        (OrderStatus::Pending | OrderStatus::PendingInventory | OrderStatus::PendingPayment, _) => {
            "Order is being processed"
        }
    };
    text.to_owned()
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
            attempt,
            ..
        } = change;
        // The order may have gone on since; a failure is final, so its reason belongs to this
        // change.
        let failure_reason = change
            .failure_reason
            .filter(|_| status == OrderStatus::Failed.as_str());
        let id = change.order_id;
        Self {
            id,
            product_id,
            quantity,
            status,
            failure_reason,
            created_at,
            updated_at: at,
            trace_id,
            reason,
            attempt,
        }
    }
}

impl From<EventRow> for OrderEvent {
    fn from(row: EventRow) -> Self {
        let EventRow {
            at,
            status,
            reason,
            attempt,
            trace_id,
        } = row;
        Self {
            at,
            status,
            reason,
            attempt,
            trace_id,
        }
    }
}

/// The table of the contract: status of the order → answer.
///
/// # Errors
/// A failed order is answered with a problem; so is one whose status this release does not know.
pub fn answer(row: OrderRow) -> Result<HttpResponse, Problem> {
    let State {
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

/// A reason that a newer release wrote is a conflict: all that is known is that the order failed.
fn failed(order: &Order, reason: Option<FailureReason>) -> Problem {
    let (status, code) = match reason {
        Some(reason @ (FailureReason::InsufficientStock | FailureReason::Expired)) => {
            (StatusCode::CONFLICT, reason.as_str())
        }
        Some(reason @ FailureReason::UnknownProduct) => {
            (StatusCode::UNPROCESSABLE_ENTITY, reason.as_str())
        }
        Some(reason @ FailureReason::PaymentDeclined) => {
            (StatusCode::PAYMENT_REQUIRED, reason.as_str())
        }
        None => (StatusCode::CONFLICT, "order-failed"),
    };
    Problem::new(status, code, format!("{}.", order.message)).of_order(order.id)
}
