//! `POST /retention/steps`: an operator deletes old orders, batch by batch.

use actix_web::http::StatusCode;
use actix_web::{post, web};

use crate::api::{RetentionStep, RetentionStepDone};
use crate::order::retention::cursor::RunCursor;
use crate::order::retention::step::{Retention, Step};
use crate::order::retention::{RetentionLimits, min_retention_days};
use crate::platform::db::DatabaseError;
use crate::platform::deadline::Deadline;
use crate::platform::http::extract::Body;
use crate::platform::http::operator::Operator;
use crate::platform::http::problem::{FieldError, MEDIA_TYPE, Problem, ProblemBody};
use crate::platform::http::problem_responses::{InvalidRequest, Unauthorized, WriteUnavailable};

/// Deletes a batch of old orders, or counts them
///
/// Orders leave that are over, and whose last change is older than `older_than_days`: failed orders
/// that owe nothing, and fulfilled ones. Their events, reservations and payments leave with them. A
/// step looks at up to 200 orders. Repeat it with `next_cursor` until that is null.
#[utoipa::path(
    tag = "operator",
    request_body = RetentionStep,
    responses(
        (status = 200, body = RetentionStepDone),
        InvalidRequest,
        Unauthorized,
        (status = 409, description = "retention-off: neither the service nor the request names an \
            age", content_type = MEDIA_TYPE, body = ProblemBody),
        WriteUnavailable,
    ),
)]
#[post("/retention/steps")]
pub async fn make_step(
    _: Operator,
    retention: web::Data<Retention>,
    limits: web::Data<RetentionLimits>,
    deadline: Deadline,
    body: Body<RetentionStep>,
) -> Result<web::Json<RetentionStepDone>, Problem> {
    let step = step(body.0, **limits)?;
    deadline.check()?;
    // Boxed: the future of a step contains those of its calls.
    let done = Box::pin(retention.step(step)).await;
    done.map(web::Json).map_err(not_done)
}

fn step(request: RetentionStep, limits: RetentionLimits) -> Result<Step, Problem> {
    let RetentionStep {
        older_than_days,
        dry_run,
        cursor,
    } = request;
    let min = min_retention_days(limits.key_ttl);
    let days = older_than_days.or(limits.days);
    let days = days.ok_or_else(|| {
        let detail = "The service has no RETENTION_DAYS, and the request no older_than_days. \
                      Nothing was deleted.";
        Problem::new(StatusCode::CONFLICT, "retention-off", detail)
    })?;
    if days < min {
        let detail = format!("must be at least {min}: idempotency keys are kept for as long");
        return Err(invalid("older_than_days", detail));
    }
    let cursor = cursor.map_or(Ok(RunCursor::START), |cursor| cursor.parse());
    Ok(Step {
        older_than_days: i32::try_from(days).unwrap_or(i32::MAX),
        dry_run,
        cursor: cursor
            .map_err(|_| invalid("cursor", "must be the next_cursor of a step".to_owned()))?,
    })
}

fn invalid(field: &str, detail: String) -> Problem {
    Problem::invalid(vec![FieldError {
        field: field.to_owned(),
        detail,
    }])
}

/// Some orders may be marked or deleted already. A later step finishes the others.
fn not_done(error: DatabaseError) -> Problem {
    if error.is_internal() {
        return error.into_read_problem();
    }
    Problem::change_unknown("The database did not respond in time.")
        .with_added_detail("Repeating the request is safe: it goes on where this one ended.")
        .with_cause(error)
        .with_retry_after(1)
}
