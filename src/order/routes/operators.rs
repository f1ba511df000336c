//! The routes for operators, who cancel, fulfil and retry orders. The routes need no body, and
//! ignore one that is sent.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, post, web};
use uuid::Uuid;

use crate::api::Order;
use crate::domain::saga::Refusal;
use crate::order::responses::RETRY_AFTER_SECONDS;
use crate::order::saga::operator_actions::{ActionError, OperatorActions};
use crate::platform::db::DatabaseError;
use crate::platform::deadline::Deadline;
use crate::platform::http::extract::RawBody;
use crate::platform::http::operator::Operator;
use crate::platform::http::problem::{MEDIA_TYPE, Problem, ProblemBody};
use crate::platform::http::problem_responses::{NotFound, Unauthorized, WriteUnavailable};

/// Method and pattern of each route for operators.
pub const ROUTES: &[(&str, &str)] = &[
    ("POST", "/orders/{id}/cancel"),
    ("POST", "/orders/{id}/fulfil"),
    ("POST", "/orders/{id}/retry"),
    ("POST", "/retention/steps"),
];

/// Cancels an order
///
/// A pending or confirmed order ends as `FAILED` with the reason `cancelled`, and is never
/// confirmed later. Its stock and its money are given back. What cannot be given back at once is in
/// `owes` until recovery has done it. A repetition changes nothing.
#[utoipa::path(
    tag = "operator",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "Cancelled, by this request or an earlier one", body = Order),
        Unauthorized,
        NotFound,
        (status = 409, description = "already-fulfilled: the goods have left or are about to; \
            already-failed: the order has failed for another reason; or unrecognized-state",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/orders/{id}/cancel")]
pub async fn cancel(
    _: Operator,
    actions: web::Data<OperatorActions>,
    deadline: Deadline,
    id: web::Path<Uuid>,
    _: RawBody,
) -> Result<web::Json<Order>, Problem> {
    record_order(*id);
    deadline.check()?;
    let order = actions.cancel(*id, deadline).await;
    let order = order.map_err(|error| problem_of(error, *id))?;
    Ok(web::Json(order.into()))
}

/// Fulfils an order
///
/// The goods of a confirmed order leave: inventory ships what it holds for the order. From the
/// first response on, the order cannot be cancelled. A repetition ships nothing twice.
#[utoipa::path(
    tag = "operator",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The goods have left, by this request or an earlier one",
            body = Order),
        (status = 202, description = "The goods have not left yet. Recovery ships them",
            body = Order, headers(("location" = String), ("retry-after" = i32))),
        Unauthorized,
        NotFound,
        (status = 409, description = "not-confirmed, or unrecognized-state",
            content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/orders/{id}/fulfil")]
pub async fn fulfil(
    _: Operator,
    actions: web::Data<OperatorActions>,
    deadline: Deadline,
    id: web::Path<Uuid>,
    _: RawBody,
) -> Result<HttpResponse, Problem> {
    record_order(*id);
    deadline.check()?;
    let order = actions.fulfil(*id, deadline).await;
    let order = Order::from(order.map_err(|error| problem_of(error, *id))?);
    if order.fulfilled_at.is_some() {
        return Ok(HttpResponse::Ok().json(order));
    }
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/orders/{}", order.id)))
        .insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS))
        .json(order))
}

/// Tries an order again
///
/// Runs an attempt now, before recovery would. Changes nothing if the order is settled, or if an
/// attempt is in progress.
#[utoipa::path(
    tag = "operator",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The order after the attempt", body = Order),
        Unauthorized,
        NotFound,
        WriteUnavailable,
    ),
)]
#[post("/orders/{id}/retry")]
pub async fn retry(
    _: Operator,
    actions: web::Data<OperatorActions>,
    deadline: Deadline,
    id: web::Path<Uuid>,
    _: RawBody,
) -> Result<web::Json<Order>, Problem> {
    record_order(*id);
    deadline.check()?;
    let order = actions.retry(*id, deadline).await;
    let order = order.map_err(|error| problem_of(error, *id))?;
    Ok(web::Json(order.into()))
}

fn record_order(id: Uuid) {
    tracing::Span::current().record("order_id", tracing::field::display(id));
}

fn problem_of(error: ActionError, id: Uuid) -> Problem {
    let (code, detail) = match error {
        ActionError::UnknownOrder => return Problem::not_found("There is no such order."),
        ActionError::Read(error) => return error.into_read_problem(),
        ActionError::Write(error) => return write_problem(error, id),
        ActionError::UnknownStatus(unknown) => (
            "unrecognized-state",
            format!(
                "The order has a status that this version does not know: {unknown}. Nothing was \
                 changed."
            ),
        ),
        ActionError::Refused(refusal) => {
            let (code, detail) = refused(refusal);
            (code, detail.to_owned())
        }
    };
    Problem::new(StatusCode::CONFLICT, code, detail).with_order_id(id)
}

const fn refused(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::AlreadyFailed => (
            "already-failed",
            "The order has failed already, so there is nothing to cancel.",
        ),
        Refusal::AlreadyFulfilled => (
            "already-fulfilled",
            "The goods have left, or are about to. The order was not cancelled.",
        ),
        Refusal::NotConfirmed => (
            "not-confirmed",
            "Only a confirmed order can be fulfilled. Nothing was changed.",
        ),
    }
}

fn write_problem(error: DatabaseError, id: Uuid) -> Problem {
    let is_unknown = error.is_outcome_unknown();
    let problem = error.into_write_problem(id);
    if is_unknown {
        problem.with_added_detail(&format!(
            "GET /orders/{id} shows whether it was. Repeating the request is safe."
        ))
    } else {
        problem
    }
}
