//! The clients of inventory and payment. The result of each call is an outcome of the saga.

mod forget;

use actix_web::http::StatusCode;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::api::{
    Charge, Payment, PaymentStatus, Release, Released, Reserve, Reserved, Ship, Shipped, Void,
};
use crate::domain::saga::{CallFailure, RefundOutcome, StepOutcome};
use crate::platform::client::dependency::Dependency;
use crate::platform::client::guard::Route;
use crate::platform::client::{CallError, Response};
use crate::platform::deadline::Deadline;
use crate::platform::http::problem::ProblemBody;

pub use forget::{FORGET_PAYMENTS, FORGET_RESERVATIONS};

/// The part of an order that calls need.
#[derive(Debug, Clone, Copy)]
pub struct OrderRef<'a> {
    pub order_id: Uuid,
    pub product_id: &'a str,
    pub quantity: i32,
    pub amount: Decimal,
    /// The epoch of the attempt that makes the call.
    pub epoch: i32,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallOutcome {
    pub outcome: StepOutcome,
    /// The code of the response's problem document, or the status of a response without one. If the
    /// call was not made, the reason for that. `None` if no response came.
    pub detail: Option<String>,
}

/// The names of the services in health checks, metrics and the dashboard's routes.
pub const INVENTORY: &str = "inventory-service";
pub const PAYMENT: &str = "payment-service";

pub const RESERVE: Route = Route {
    name: "reserve",
    path: "/inventory/reserve",
};
pub const RELEASE: Route = Route {
    name: "release",
    path: "/inventory/release",
};
pub const SHIP: Route = Route {
    name: "ship",
    path: "/inventory/ship",
};
pub const CHARGE: Route = Route {
    name: "charge",
    path: "/payments",
};
pub const QUERY_PAYMENT: Route = Route {
    name: "query-payment",
    path: "/payments",
};
pub const REFUND: Route = Route {
    name: "refund",
    path: "/payments/void",
};

#[derive(Clone)]
pub struct InventoryClient(Dependency);

impl InventoryClient {
    #[must_use]
    pub fn new(dependency: Dependency) -> Self {
        Self(dependency.with_batches(RESERVE))
    }

    pub async fn reserve(&self, order: OrderRef<'_>, deadline: Deadline) -> CallOutcome {
        let body = Reserve {
            product_id: order.product_id.to_owned(),
            quantity: order.quantity,
            order_id: Some(order.order_id),
            epoch: Some(order.epoch),
        };
        let response = self.0.post(RESERVE, &body, deadline).await;
        conclude(RESERVE.name, response, |response| {
            Ok(match response.status {
                StatusCode::OK => {
                    response
                        .json::<Reserved>()
                        .and_then(|held| same_order(held.order_id, order))?;
                    Some(StepOutcome::Reserved)
                }
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                    match response.json::<ProblemBody>()?.code.as_str() {
                        "insufficient-stock" => Some(StepOutcome::InsufficientStock),
                        "unknown-product" => Some(StepOutcome::UnknownProduct),
                        "stale-epoch" => Some(StepOutcome::Fenced),
                        _ => None,
                    }
                }
                _ => None,
            })
        })
    }

    /// Releases what the order has reserved at `epoch` or an earlier one.
    pub async fn release(
        &self,
        order: OrderRef<'_>,
        epoch: i32,
        deadline: Deadline,
    ) -> CallOutcome {
        let body = Release {
            order_id: order.order_id,
            epoch: Some(epoch),
        };
        let response = self.0.post(RELEASE, &body, deadline).await;
        conclude(RELEASE.name, response, |response| {
            if response.status != StatusCode::OK {
                return Ok(None);
            }
            let released: Released = response.json()?;
            same_order(released.order_id, order)?;
            Ok(Some(StepOutcome::Released {
                units_returned: released.released > 0,
            }))
        })
    }

    /// Ships the goods that the order holds.
    pub async fn ship(&self, order: OrderRef<'_>, deadline: Deadline) -> CallOutcome {
        let body = Ship {
            order_id: order.order_id,
            epoch: Some(order.epoch),
        };
        let response = self.0.post(SHIP, &body, deadline).await;
        conclude(SHIP.name, response, |response| match response.status {
            StatusCode::OK => {
                response
                    .json::<Shipped>()
                    .and_then(|shipped| same_order(shipped.order_id, order))?;
                Ok(Some(StepOutcome::Shipped))
            }
            StatusCode::CONFLICT if response.code().as_deref() == Some("stale-epoch") => {
                Ok(Some(StepOutcome::Fenced))
            }
            _ => Ok(None),
        })
    }

    /// Returns a client whose calls do not open circuit breakers.
    #[must_use]
    pub fn without_opening_breakers(self) -> Self {
        Self(self.0.without_opening_breakers())
    }
}

#[derive(Clone)]
pub struct PaymentClient(Dependency);

impl PaymentClient {
    #[must_use]
    pub fn new(dependency: Dependency) -> Self {
        Self(dependency.with_batches(CHARGE))
    }

    pub async fn charge(&self, order: OrderRef<'_>, deadline: Deadline) -> CallOutcome {
        let OrderRef {
            order_id,
            amount,
            epoch,
            ..
        } = order;
        let body = Charge {
            order_id,
            amount: Some(amount),
            epoch: Some(epoch),
        };
        let response = self.0.post(CHARGE, &body, deadline).await;
        conclude(CHARGE.name, response, |response| match response.status {
            StatusCode::CREATED | StatusCode::OK | StatusCode::PAYMENT_REQUIRED => {
                charge_outcome(response, order)
            }
            _ => Ok(None),
        })
    }

    /// Asks for the outcome of an earlier attempt's charge.
    pub async fn query(&self, order: OrderRef<'_>, deadline: Deadline) -> CallOutcome {
        let response = self
            .0
            .get(
                QUERY_PAYMENT,
                &format!("?order_id={}", order.order_id),
                deadline,
            )
            .await;
        conclude(QUERY_PAYMENT.name, response, |response| {
            match response.status {
                StatusCode::OK => charge_outcome(response, order),
                StatusCode::NOT_FOUND if response.code().as_deref() == Some("unknown-payment") => {
                    Ok(Some(StepOutcome::NotCharged))
                }
                _ => Ok(None),
            }
        })
    }

    /// Refunds the order's charge, or forbids it if it was never made.
    pub async fn refund(&self, order: OrderRef<'_>, deadline: Deadline) -> CallOutcome {
        let body = Void {
            order_id: order.order_id,
        };
        let response = self.0.post(REFUND, &body, deadline).await;
        conclude(REFUND.name, response, |response| {
            if response.status != StatusCode::OK {
                return Ok(None);
            }
            let payment: Payment = response.json()?;
            same_order(payment.order_id, order)?;
            let outcome = match payment.status {
                PaymentStatus::Refunded => RefundOutcome::Refunded,
                PaymentStatus::Voided => RefundOutcome::ChargeForbidden,
                PaymentStatus::Failed => RefundOutcome::NothingCharged,
                status @ (PaymentStatus::Success | PaymentStatus::Pending) => {
                    return Err(CallError::Unusable(format!("the payment is {status}")));
                }
            };
            Ok(Some(StepOutcome::Refunded(outcome)))
        })
    }

    /// Returns a client whose calls do not open circuit breakers.
    #[must_use]
    pub fn without_opening_breakers(self) -> Self {
        Self(self.0.without_opening_breakers())
    }
}

fn charge_outcome(
    response: &Response,
    order: OrderRef<'_>,
) -> Result<Option<StepOutcome>, CallError> {
    let payment: Payment = response.json()?;
    same_order(payment.order_id, order)?;
    Ok(Some(match payment.status {
        PaymentStatus::Success => StepOutcome::Charged,
        PaymentStatus::Pending => StepOutcome::NotCharged,
        PaymentStatus::Failed | PaymentStatus::Refunded | PaymentStatus::Voided => {
            StepOutcome::Declined
        }
    }))
}

fn same_order(order_id: Uuid, order: OrderRef<'_>) -> Result<(), CallError> {
    if order_id == order.order_id {
        Ok(())
    } else {
        Err(CallError::Unusable(format!(
            "it is about the order {order_id}"
        )))
    }
}

/// The outcome of a response. `read` returns `None` for a response that is not one of those that
/// the step expects.
fn conclude(
    step: &'static str,
    response: Result<Response, CallError>,
    read: impl FnOnce(&Response) -> Result<Option<StepOutcome>, CallError>,
) -> CallOutcome {
    let response = match response {
        Ok(response) => response,
        Err(error) => return failed(step, &error, None),
    };
    let detail = response
        .code()
        .unwrap_or_else(|| response.status.as_str().to_owned());
    match read(&response) {
        Ok(Some(outcome)) => CallOutcome {
            outcome,
            detail: Some(detail),
        },
        Ok(None) if response.status.is_client_error() => {
            tracing::warn!(step, detail, "the service rejected the call");
            CallOutcome {
                outcome: StepOutcome::CallFailed(CallFailure::Rejected),
                detail: Some(detail),
            }
        }
        Ok(None) => {
            let error = CallError::Unusable(format!("status {}", response.status));
            failed(step, &error, Some(detail))
        }
        Err(error) => failed(step, &error, Some(detail)),
    }
}

fn failed(step: &'static str, error: &CallError, detail: Option<String>) -> CallOutcome {
    tracing::warn!(step, %error, "no usable response");
    let failure = match error {
        CallError::NotConnected(_) => CallFailure::ConnectionRefused,
        CallError::TimedOut => CallFailure::TimedOut,
        CallError::Interrupted(_) => CallFailure::ConnectionLost,
        CallError::Rejected(_) => CallFailure::NotCalled,
        CallError::Unusable(_) => CallFailure::Failed,
    };
    let why_not_called = match error {
        CallError::Rejected(why) => Some((*why).to_owned()),
        _ => None,
    };
    CallOutcome {
        outcome: StepOutcome::CallFailed(failure),
        detail: detail.or(why_not_called),
    }
}
