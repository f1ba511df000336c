//! The routes of the payment service.

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, get, post, web};
use uuid::Uuid;

use super::charge::{Charged, Charges};
use super::gateway::Gateway;
use super::problems::{gateway_unavailable, not_stored, unknown_payment, unknown_status};
use super::store::{self, PaymentRow};
use crate::api::{Charge, Payment, PaymentStatus, PaymentsOfOrder, Void};
use crate::platform::client::request_batch::server::{self, Batch};
use crate::platform::client::request_batch::{BatchSchema, ResponseLineSchema};
use crate::platform::db::{Database, DatabaseError};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::{Body, Query};
use crate::platform::http::problem::{MEDIA_TYPE, Problem, ProblemBody};
use crate::platform::http::problem_responses::{
    BatchRejected, InvalidRequest, Unavailable, UnrecognizedState, WriteUnavailable,
};

impl TryFrom<PaymentRow> for Payment {
    type Error = Problem;

    fn try_from(row: PaymentRow) -> Result<Self, Problem> {
        let PaymentRow {
            id,
            order_id,
            amount,
            status,
            created_at,
        } = row;
        let status = status
            .known()
            .map_err(|unknown| unknown_status(order_id, &unknown))?;
        Ok(Self {
            id,
            order_id,
            amount,
            status,
            created_at,
        })
    }
}

/// Charges an order once
///
/// Another charge of the same order gets the stored payment, whatever its status is. Another amount
/// for the same order is rejected.
#[utoipa::path(
    tag = "payment",
    request_body = Charge,
    responses(
        (status = 201, description = "Charged", body = Payment),
        (status = 200, description = "Charged by an earlier request", body = Payment),
        (status = 402, description = "Declined, by this or an earlier request, or voided",
            body = Payment),
        InvalidRequest,
        UnrecognizedState,
        (status = 422, description = "payment-mismatch: the order's payment has another amount",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/payments", wrap = "from_fn(server::advertise_batches)")]
pub async fn charge(
    charges: web::Data<Charges>,
    deadline: Deadline,
    body: Body<Charge>,
) -> Result<(web::Json<Payment>, StatusCode), Problem> {
    charge_one(&charges, body.0, deadline).await
}

/// Charges several orders, each once
///
/// Each call is handled as `POST /payments` would, independently of the others. The response has
/// one line for each, in the order in which they finish. Rejected while the gremlin has a fault to
/// inject.
#[utoipa::path(
    tag = "payment",
    request_body = BatchSchema<Charge>,
    responses(
        (status = 200, description = "One line of JSON for each call",
            content_type = "application/x-ndjson", body = ResponseLineSchema),
        InvalidRequest,
        BatchRejected,
    ),
)]
#[post("/payments/batch")]
pub async fn charge_batch(charges: web::Data<Charges>, batch: Batch<Charge>) -> HttpResponse {
    batch.respond(move |request, deadline| {
        let charges = charges.clone();
        async move { charge_one(&charges, request, deadline).await }
    })
}

async fn charge_one(
    charges: &Charges,
    request: Charge,
    deadline: Deadline,
) -> Result<(web::Json<Payment>, StatusCode), Problem> {
    let (row, success) = match charges.charge(request, deadline).await? {
        Charged::Now(row) => (row, StatusCode::CREATED),
        Charged::Before(row) => (row, StatusCode::OK),
    };
    let payment = Payment::try_from(row)?;
    let status = if payment.status == PaymentStatus::Success {
        success
    } else {
        StatusCode::PAYMENT_REQUIRED
    };
    Ok((web::Json(payment), status))
}

/// Refunds an order's charge, and prevents a later one
#[utoipa::path(
    tag = "payment",
    request_body = Void,
    responses(
        (status = 200, body = Payment),
        InvalidRequest,
        UnrecognizedState,
        WriteUnavailable,
    ),
)]
#[post("/payments/void")]
pub async fn void(
    database: web::Data<Database>,
    gateway: web::Data<dyn Gateway>,
    deadline: Deadline,
    body: Body<Void>,
) -> Result<web::Json<Payment>, Problem> {
    let order_id = body.0.order_id;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    failpoint::point("payment.void.begin").await;
    deadline.check()?;
    // The gateway is called first, whatever the stored status is: a charge may have reached the
    // gateway without being stored yet, and only the gateway can refund or prevent that one. A
    // crash between the two steps is harmless. The order service has stored that it owes the
    // refund, and repeats the void until it gets an answer. Both steps are idempotent.
    let cancelled = gateway.cancel(order_id).await;
    cancelled.map_err(|error| gateway_unavailable(order_id, error))?;
    let row = database
        .run_with_lock_retries(async |connection| store::void(connection, order_id).await)
        .await
        .map_err(|error| not_stored(order_id, error))?;
    let row = row.map_err(|unknown| unknown_status(order_id, &unknown))?;
    failpoint::point("payment.void.committed").await;
    Ok(web::Json(row.try_into()?))
}

/// One payment
#[utoipa::path(
    tag = "payment",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Payment),
        (status = 404, description = "unknown-payment",
            content_type = MEDIA_TYPE, body = ProblemBody),
        UnrecognizedState,
        Unavailable,
    ),
)]
#[get("/payments/{id}")]
pub async fn show(
    database: web::Data<Database>,
    id: web::Path<Uuid>,
) -> Result<web::Json<Payment>, Problem> {
    let row = database
        .run_with_lock_retries(async |connection| store::find(connection, *id).await)
        .await;
    let row = row.map_err(DatabaseError::into_read_problem)?;
    Ok(web::Json(row.ok_or_else(unknown_payment)?.try_into()?))
}

/// The payment of an order
#[utoipa::path(
    tag = "payment",
    params(PaymentsOfOrder),
    responses(
        (status = 200, body = Payment),
        InvalidRequest,
        (status = 404, description = "unknown-payment",
            content_type = MEDIA_TYPE, body = ProblemBody),
        UnrecognizedState,
        Unavailable,
    ),
)]
#[get("/payments")]
pub async fn of_order(
    charges: web::Data<Charges>,
    deadline: Deadline,
    query: Query<PaymentsOfOrder>,
) -> Result<web::Json<Payment>, Problem> {
    let row = charges.find(query.0.order_id, deadline).await;
    let row = row.map_err(DatabaseError::into_read_problem)?;
    Ok(web::Json(row.ok_or_else(unknown_payment)?.try_into()?))
}
