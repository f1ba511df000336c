//! Who may call a service that only other services are to call: whoever shows the token they share,
//! where one is set.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use subtle::ConstantTimeEq;

use crate::platform::http::problem::Problem;

/// The token that a service asks for; none where it asks for nothing.
#[derive(Clone)]
pub struct ServiceToken(pub Option<String>);

/// Whether the headers show this token. Takes as long for a wrong one as for the right one.
#[must_use]
pub fn shows(headers: &HeaderMap, token: &str) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| bool::from(given.ct_eq(token.as_bytes())))
}

/// For people, probes and Prometheus, who have no such token; the gremlin has one of its own.
fn is_open(path: &str) -> bool {
    ["/gremlin/", "/docs"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || ["/health", "/livez", "/readyz", "/metrics", "/openapi.json"].contains(&path)
}

/// Middleware: turns away who does not show the token.
///
/// # Errors
/// Those of the service behind it.
pub async fn authenticate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let token = request
        .app_data::<web::Data<ServiceToken>>()
        .and_then(|token| token.0.as_deref());
    let welcome =
        token.is_none_or(|token| shows(request.headers(), token)) || is_open(request.path());
    if welcome {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let detail = "This service is for other services: it wants the header Authorization: Bearer with their token.";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    Ok(request.error_response(problem).map_into_right_body())
}
