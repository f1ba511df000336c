//! `GET /audit`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, get, web};

use crate::audit::{Audit, AuditError};
use crate::order::audit_cache::AuditCache;
use crate::platform::http::marker::LogAtDebug;
use crate::platform::http::problem::{Problem, ProblemBody};

/// The invariants, checked on the live database
///
/// Reads the tables of all services. If they are in one database, it reads them in one snapshot.
/// If inventory or payment has a database of its own, it reads the orders first, and reads an
/// order again if a change meanwhile may have made it look wrong. The audit starts after the
/// request. If audits take longer than 250 ms, a stored result is returned until it is as old as
/// twice its duration, at most 10 s. `at` says when the orders were read.
#[utoipa::path(tag = "order", responses((status = 200, body = Audit),
    (status = 501, description = "audit-not-configured: inventory's or payment's table is empty \
        although orders exist that need rows in it. That service may have a database of its own \
        whose address is not set",
        content_type = "application/problem+json", body = ProblemBody),
    (status = 503, description = "audit-unavailable: a table is locked or missing, the audit \
        takes too long, or orders changed while they were read; or database-unavailable",
        content_type = "application/problem+json", body = ProblemBody)))]
#[get("/audit")]
pub async fn audit(
    request: HttpRequest,
    audits: web::Data<AuditCache>,
) -> Result<web::Json<Audit>, Problem> {
    LogAtDebug::mark(&request);
    audits.audit().await.map(web::Json).map_err(problem_of)
}

fn problem_of(error: AuditError) -> Problem {
    let (code, detail) = match error {
        AuditError::Unreadable(error) => return error.into_read_problem(),
        AuditError::Aborted => return Problem::internal(error),
        AuditError::Empty { .. } => {
            let detail = format!("{error}.");
            return Problem::new(StatusCode::NOT_IMPLEMENTED, "audit-not-configured", detail);
        }
        AuditError::Unreachable { .. } => (
            "database-unavailable",
            "A database that the audit reads cannot be reached.",
        ),
        AuditError::NotLocked(_) => (
            "audit-unavailable",
            "The audit cannot read a table: another session has locked it, or it does not exist.",
        ),
        AuditError::OrdersChanging { .. } => (
            "audit-unavailable",
            "Orders that seem to violate an invariant changed each time that they were read again.",
        ),
        AuditError::TimedOut => (
            "audit-unavailable",
            "The audit did not end in time. Run `valerix audit`, which has no time limit.",
        ),
    };
    Problem::unavailable(code, detail).with_cause(error)
}
