//! Payment's HTTP.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, get, post, web};
use rust_decimal::Decimal;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::gateway::{Decision, Gateway, GatewayUnavailable};
use super::store::{self, Decided, PaymentRow};
use crate::api::{Charge, Payment, PaymentStatus, PaymentsOfOrder, Void};
use crate::domain::payment;
use crate::domain::payment::ChargePlan;
use crate::platform::client::request_batch;
use crate::platform::client::request_batch::server::Batch;
use crate::platform::client::request_batch::{BatchSchema, ResponseLineSchema};
use crate::platform::db::batcher::Batcher;
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::{Body, Query};
use crate::platform::http::health::Checks;
use crate::platform::http::problem::{Problem, ProblemBody};
use crate::platform::service::{Platform, Role};
use crate::platform::unknown_variant::UnknownVariant;

/// The payment role.
#[derive(Clone)]
pub struct PaymentRole {
    pub gateway: Arc<dyn Gateway>,
}

/// Where charges queue, to be looked up and stored together.
struct Payments {
    known: Batcher<Uuid, Option<PaymentRow>>,
    decided: Batcher<Decided, Option<PaymentRow>>,
}

impl Payments {
    fn start(platform: &Platform) -> Self {
        Self {
            known: Batcher::start(&platform.database, store::FIND),
            decided: Batcher::start(&platform.database, store::INSERT),
        }
    }
}

impl Role for PaymentRole {
    const SERVICE: &'static str = "payment-service";
    const INTERNAL: bool = true;
    const TABLES: &'static [&'static str] = &["payments"];

    fn checks(&self, platform: &Platform) -> Checks {
        let database = platform.database.clone();
        Checks::new(Self::SERVICE, move || {
            let database = database.clone();
            async move {
                database
                    .is_usable(async |connection| store::find(connection, Uuid::nil()).await)
                    .await
            }
        })
    }

    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>) {
        service
            .app_data(web::Data::new(platform.database.clone()))
            .app_data(web::Data::from(Arc::clone(&self.gateway)))
            .app_data(web::Data::new(Payments::start(platform)))
            .service(charge)
            .service(charge_all)
            .service(of_order)
            .service(void)
            .service(show);
    }
}

impl TryFrom<PaymentRow> for Payment {
    type Error = Problem;

    fn try_from(row: PaymentRow) -> Result<Self, Problem> {
        let status = row
            .status()
            .map_err(|error| unrecognized(row.order_id, &error))?;
        let PaymentRow {
            id,
            order_id,
            amount,
            created_at,
            ..
        } = row;
        Ok(Self {
            id,
            order_id,
            amount,
            status,
            created_at,
        })
    }
}

/// A newer release wrote a status that this one does not know.
fn unrecognized(order_id: Uuid, error: &UnknownVariant) -> Problem {
    let detail =
        format!("The order's payment has a status that this release does not know: {error}.");
    Problem::new(StatusCode::CONFLICT, "unrecognized-state", detail).of_order(order_id)
}

/// The gateway may have acted before it fell silent.
fn gateway_unavailable(error: GatewayUnavailable, order_id: Uuid) -> Problem {
    Problem::outcome_unknown("The payment gateway did not answer.", order_id).with_cause(error)
}

/// The gateway has acted, and that could not be stored or read back: whatever the database did,
/// something was done.
fn not_stored(error: DatabaseError, order_id: Uuid) -> Problem {
    let problem = error.clone().of_write(order_id);
    if problem.status().is_server_error() && problem.status() != StatusCode::SERVICE_UNAVAILABLE {
        return problem;
    }
    Problem::outcome_unknown(
        "The payment gateway has acted, and the database did not store it in time.",
        order_id,
    )
    .with_cause(error)
}

/// Charges an order, once
///
/// The same order again gives the stored payment, whatever became of it. Another amount for the
/// same order is refused.
#[utoipa::path(tag = "payment", request_body = Charge, responses(
    (status = 201, description = "Charged", body = Payment),
    (status = 200, description = "Was charged before", body = Payment),
    (status = 402, description = "Declined, now or before, or voided", body = Payment),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 422, description = "payment-mismatch: the order's payment has another amount", content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[post("/payments", wrap = "from_fn(request_batch::server::offer)")]
async fn charge(
    payments: web::Data<Payments>,
    gateway: web::Data<dyn Gateway>,
    deadline: Deadline,
    body: Body<Charge>,
) -> Result<(web::Json<Payment>, StatusCode), Problem> {
    once(&payments, &**gateway, body.0, deadline).await
}

/// Charges several orders, each once
///
/// Each call as `POST /payments` by itself, whatever becomes of the others. The answer has a line
/// for each, in the order in which they are done. Refused while the gremlin is at work.
#[utoipa::path(tag = "payment", request_body = BatchSchema<Charge>, responses(
    (status = 200, description = "A line of JSON for each call", content_type = "application/x-ndjson", body = ResponseLineSchema),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "one-by-one: the gremlin is at work", content_type = "application/problem+json", body = ProblemBody)))]
#[post("/payments/batch")]
async fn charge_all(
    payments: web::Data<Payments>,
    gateway: web::Data<dyn Gateway>,
    batch: Batch<Charge>,
) -> HttpResponse {
    batch.respond(move |wish, deadline| {
        let (payments, gateway) = (payments.clone(), gateway.clone());
        async move { once(&payments, &**gateway, wish, deadline).await }
    })
}

async fn once(
    payments: &Payments,
    gateway: &dyn Gateway,
    wish: Charge,
    deadline: Deadline,
) -> Result<(web::Json<Payment>, StatusCode), Problem> {
    let Charge {
        order_id,
        amount,
        epoch,
    } = wish;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    let named = amount;
    let amount = named.unwrap_or_else(|| Decimal::new(9999, 2));
    failpoint::point("payment.charge.begin").await;
    deadline.check()?;
    // The first to ask need not look. Where it was not the first, as with a message that came
    // twice, the gateway gives its first answer again, and the row that is there is found when
    // this one cannot be stored.
    let stored = match epoch {
        Some(1) => None,
        _ => payments
            .known
            .submit(order_id, deadline)
            .await
            .map_err(DatabaseError::of_read)?,
    };
    let status = stored.as_ref().map(PaymentRow::status).transpose();
    let status = status.map_err(|error| unrecognized(order_id, &error))?;
    if let (ChargePlan::Keep(_), Some(stored)) = (payment::charge(status), stored) {
        return answer_again(stored, named);
    }
    // The gateway knows the order by its id: asked twice, it charges once. What counts is the row
    // that is stored first.
    let decision = gateway.charge(order_id, amount).await;
    let status = match decision.map_err(|error| gateway_unavailable(error, order_id))? {
        Decision::Approved => PaymentStatus::Success,
        Decision::Declined => PaymentStatus::Failed,
    };
    failpoint::point("payment.charge.decided").await;
    // Past the deadline still: the gateway has decided, and whoever asks later must learn it.
    let decided = Decided {
        order_id,
        amount,
        status,
    };
    let inserted = payments
        .decided
        .submit(decided, Deadline::after(WORK_TIMEOUT))
        .await;
    let inserted = inserted.map_err(|error| not_stored(error, order_id))?;
    failpoint::point("payment.charge.committed").await;
    if let Some(row) = inserted {
        return answer(row, StatusCode::CREATED);
    }
    let stored = payments
        .known
        .submit(order_id, Deadline::after(WORK_TIMEOUT))
        .await;
    let stored = stored.map_err(|error| not_stored(error, order_id))?;
    let stored = stored.ok_or_else(|| Problem::internal("a payment that was there is gone"))?;
    // Given up meanwhile: whatever the gateway has just done for it is undone.
    if matches!(
        stored.status(),
        Ok(PaymentStatus::Voided | PaymentStatus::Refunded)
    ) {
        gateway
            .cancel(order_id)
            .await
            .map_err(|error| gateway_unavailable(error, order_id))?;
    }
    answer_again(stored, named)
}

/// Answers with the payment that the order already has, unless the request names another amount.
fn answer_again(
    stored: PaymentRow,
    named: Option<Decimal>,
) -> Result<(web::Json<Payment>, StatusCode), Problem> {
    let status = stored
        .status()
        .map_err(|error| unrecognized(stored.order_id, &error))?;
    if payment::is_mismatch(named, stored.amount, status) {
        let detail = format!(
            "The order's payment is of {}, not of another amount.",
            stored.amount
        );
        let mismatch = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "payment-mismatch", detail);
        return Err(mismatch.of_order(stored.order_id));
    }
    answer(stored, StatusCode::OK)
}

fn answer(
    row: PaymentRow,
    success: StatusCode,
) -> Result<(web::Json<Payment>, StatusCode), Problem> {
    let payment = Payment::try_from(row)?;
    let status = if payment.status == PaymentStatus::Success {
        success
    } else {
        StatusCode::PAYMENT_REQUIRED
    };
    Ok((web::Json(payment), status))
}

/// Undoes an order's charge, and forbids a later one
#[utoipa::path(tag = "payment", request_body = Void, responses((status = 200, body = Payment),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[post("/payments/void")]
async fn void(
    database: web::Data<Database>,
    gateway: web::Data<dyn Gateway>,
    deadline: Deadline,
    body: Body<Void>,
) -> Result<web::Json<Payment>, Problem> {
    let order_id = body.0.order_id;
    tracing::Span::current().record("order_id", tracing::field::display(order_id));
    failpoint::point("payment.void.begin").await;
    deadline.check()?;
    // First the money, then the row: a crash between the two leaves a void that is asked for again.
    gateway
        .cancel(order_id)
        .await
        .map_err(|error| gateway_unavailable(error, order_id))?;
    let row = database
        .run_when_unlocked(async |connection| store::void(connection, order_id).await)
        .await;
    let row = row.map_err(|error| not_stored(error, order_id))?;
    let row = row.map_err(|error| unrecognized(order_id, &error))?;
    failpoint::point("payment.void.committed").await;
    Ok(web::Json(row.try_into()?))
}

/// One payment
#[utoipa::path(tag = "payment", params(("id" = Uuid, Path)), responses((status = 200, body = Payment),
    (status = 404, content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/payments/{id}")]
async fn show(
    database: web::Data<Database>,
    id: web::Path<Uuid>,
) -> Result<web::Json<Payment>, Problem> {
    let row = database
        .run_when_unlocked(async |connection| store::find(connection, *id).await)
        .await;
    let row = row.map_err(DatabaseError::of_read)?;
    Ok(web::Json(row.ok_or_else(unknown_payment)?.try_into()?))
}

/// The payment of an order
#[utoipa::path(tag = "payment", params(PaymentsOfOrder), responses((status = 200, body = Payment),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 404, description = "unknown-payment", content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/payments")]
async fn of_order(
    payments: web::Data<Payments>,
    deadline: Deadline,
    query: Query<PaymentsOfOrder>,
) -> Result<web::Json<Payment>, Problem> {
    let row = payments
        .known
        .submit(query.0.order_id, deadline)
        .await
        .map_err(DatabaseError::of_read)?;
    Ok(web::Json(row.ok_or_else(unknown_payment)?.try_into()?))
}

fn unknown_payment() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-payment",
        "There is no such payment.",
    )
}
