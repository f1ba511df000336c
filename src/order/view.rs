//! From the store's rows to what a customer sees: the wire types, and the HTTP answer of an order.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use super::flow::State;
use super::store::{ChangeRow, EventRow, OrderRow};
use crate::api::{FailureReason, Order, OrderChange, OrderEvent, OrderStatus};
use crate::platform::problem::Problem;
use crate::platform::telemetry;

/// How long a customer with a pending order should wait before asking again.
const RETRY_AFTER_SECONDS: u32 = 5;

impl TryFrom<OrderRow> for Order {
    type Error = Problem;

    fn try_from(row: OrderRow) -> Result<Self, Problem> {
        let State { status, failure_reason, .. } = row.state()?;
        Ok(Self {
            id: row.id,
            product_id: row.product_id,
            quantity: row.quantity,
            status,
            message: message(status, failure_reason),
            failure_reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
            trace_id: row.traceparent.as_deref().and_then(telemetry::trace_id_of),
        })
    }
}

fn message(status: OrderStatus, reason: Option<FailureReason>) -> String {
    let text = match (status, reason) {
        (OrderStatus::Confirmed, _) => "Order confirmed",
        (OrderStatus::Failed, Some(FailureReason::InsufficientStock)) => "Order failed: not enough stock",
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
        let ChangeRow { product_id, quantity, status, created_at, at, trace_id, reason, attempt, .. } =
            change;
        // The order may have gone on since; a failure is final, so its reason belongs to this change.
        let failure_reason = change.failure_reason.filter(|_| status == OrderStatus::Failed.as_str());
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

impl TryFrom<EventRow> for OrderEvent {
    type Error = Problem;

    fn try_from(row: EventRow) -> Result<Self, Problem> {
        let EventRow { at, reason, attempt, trace_id, .. } = row;
        Ok(Self { at, status: row.status.parse().map_err(Problem::internal)?, reason, attempt, trace_id })
    }
}

/// The table of the contract: status of the order → answer.
///
/// # Errors
/// A failed order is answered with a problem.
pub fn answer(row: OrderRow) -> Result<HttpResponse, Problem> {
    let order = Order::try_from(row)?;
    let location = (header::LOCATION, format!("/orders/{}", order.id));
    match (order.status, order.failure_reason) {
        (OrderStatus::Confirmed, _) => Ok(HttpResponse::Created().insert_header(location).json(order)),
        (OrderStatus::Failed, reason) => Err(failed(&order, reason)),
        (OrderStatus::Pending | OrderStatus::PendingInventory | OrderStatus::PendingPayment, _) => {
            Ok(HttpResponse::Accepted()
                .insert_header(location)
                .insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS))
                .json(order))
        }
    }
}

fn failed(order: &Order, reason: Option<FailureReason>) -> Problem {
    let reason = reason.unwrap_or(FailureReason::Expired);
    let status = match reason {
        FailureReason::InsufficientStock | FailureReason::Expired => StatusCode::CONFLICT,
        FailureReason::UnknownProduct => StatusCode::UNPROCESSABLE_ENTITY,
        FailureReason::PaymentDeclined => StatusCode::PAYMENT_REQUIRED,
    };
    Problem::new(status, reason.as_str(), format!("{}.", order.message)).of_order(order.id)
}
