//! Inventory and payment as the order service sees them: each call ends in an event of the flow.

use actix_web::http::StatusCode;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::api::{Charge, Payment, PaymentStatus, Release, Released, Reserve, Reserved, Void};
use crate::domain::saga::Event;
use crate::platform::client::dependency::Dependency;
use crate::platform::client::guard::Route;
use crate::platform::client::{Answer, CallError};
use crate::platform::deadline::Deadline;
use crate::platform::http::problem::ProblemBody;

/// What an attempt needs to know of its order.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub order_id: Uuid,
    pub product_id: &'a str,
    pub quantity: i32,
    pub amount: Decimal,
    pub epoch: i32,
}

pub const RESERVE: Route = Route {
    name: "reserve",
    path: "/inventory/reserve",
};
pub const RELEASE: Route = Route {
    name: "release",
    path: "/inventory/release",
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
pub struct Inventory(Dependency);

impl Inventory {
    #[must_use]
    pub fn new(dependency: Dependency) -> Self {
        Self(dependency.with_batches(RESERVE))
    }

    pub async fn reserve(&self, subject: Subject<'_>, deadline: Deadline) -> Event {
        let body = Reserve {
            product_id: subject.product_id.to_owned(),
            quantity: subject.quantity,
            order_id: Some(subject.order_id),
            epoch: Some(subject.epoch),
        };
        let answer = self.0.post(RESERVE, &body, deadline).await;
        conclude("reserve", answer, |answer| {
            Ok(match answer.status {
                StatusCode::OK => {
                    answer
                        .json::<Reserved>()
                        .and_then(|held| same_order(held.order_id, subject))?;
                    Some(Event::Reserved)
                }
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                    match answer.json::<ProblemBody>()?.code.as_str() {
                        "insufficient-stock" => Some(Event::InsufficientStock),
                        "unknown-product" => Some(Event::UnknownProduct),
                        "stale-epoch" => Some(Event::Overtaken),
                        _ => None,
                    }
                }
                _ => None,
            })
        })
    }

    pub async fn release(&self, subject: Subject<'_>, epoch: i32, deadline: Deadline) -> Event {
        let body = Release {
            order_id: subject.order_id,
            epoch: Some(epoch),
        };
        let answer = self.0.post(RELEASE, &body, deadline).await;
        conclude("release", answer, |answer| {
            if answer.status != StatusCode::OK {
                return Ok(None);
            }
            answer
                .json::<Released>()
                .and_then(|released| same_order(released.order_id, subject))?;
            Ok(Some(Event::Released))
        })
    }
}

#[derive(Clone)]
pub struct Payments(Dependency);

impl Payments {
    #[must_use]
    pub fn new(dependency: Dependency) -> Self {
        Self(dependency.with_batches(CHARGE))
    }

    pub async fn charge(&self, subject: Subject<'_>, deadline: Deadline) -> Event {
        let Subject {
            order_id,
            amount,
            epoch,
            ..
        } = subject;
        let body = Charge {
            order_id,
            amount: Some(amount),
            epoch: Some(epoch),
        };
        let answer = self.0.post(CHARGE, &body, deadline).await;
        conclude("charge", answer, |answer| match answer.status {
            StatusCode::CREATED | StatusCode::OK | StatusCode::PAYMENT_REQUIRED => {
                outcome(&answer, subject)
            }
            _ => Ok(None),
        })
    }

    /// What payment knows of the order's charge.
    pub async fn ask(&self, subject: Subject<'_>, deadline: Deadline) -> Event {
        let answer = self
            .0
            .get(
                QUERY_PAYMENT,
                &format!("?order_id={}", subject.order_id),
                deadline,
            )
            .await;
        conclude("ask payment", answer, |answer| match answer.status {
            StatusCode::OK => outcome(&answer, subject),
            StatusCode::NOT_FOUND if answer.json::<ProblemBody>()?.code == "unknown-payment" => {
                Ok(Some(Event::NotCharged))
            }
            _ => Ok(None),
        })
    }

    pub async fn void(&self, subject: Subject<'_>, deadline: Deadline) -> Event {
        let body = Void {
            order_id: subject.order_id,
        };
        let answer = self.0.post(REFUND, &body, deadline).await;
        conclude("void", answer, |answer| {
            if answer.status != StatusCode::OK {
                return Ok(None);
            }
            answer
                .json::<Payment>()
                .and_then(|payment| same_order(payment.order_id, subject))?;
            Ok(Some(Event::Voided))
        })
    }
}

fn outcome(answer: &Answer, subject: Subject<'_>) -> Result<Option<Event>, CallError> {
    let payment: Payment = answer.json()?;
    same_order(payment.order_id, subject)?;
    Ok(Some(match payment.status {
        PaymentStatus::Success => Event::Charged,
        PaymentStatus::Pending => Event::NotCharged,
        PaymentStatus::Failed | PaymentStatus::Refunded | PaymentStatus::Voided => Event::Declined,
    }))
}

fn same_order(answered: Uuid, subject: Subject<'_>) -> Result<(), CallError> {
    if answered == subject.order_id {
        Ok(())
    } else {
        Err(CallError::Unusable(format!("it is about order {answered}")))
    }
}

/// A timeout, an error status and an answer that makes no sense are one to the flow: the outcome is
/// unknown.
fn conclude(
    step: &'static str,
    answer: Result<Answer, CallError>,
    read: impl FnOnce(Answer) -> Result<Option<Event>, CallError>,
) -> Event {
    let event = answer.and_then(|answer| {
        let status = answer.status;
        read(answer)?.ok_or_else(|| CallError::Unusable(format!("status {status}")))
    });
    event.unwrap_or_else(|error| {
        tracing::warn!(step, %error, "no usable answer; the outcome is unknown");
        Event::Unavailable
    })
}
