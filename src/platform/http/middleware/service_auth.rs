//! Requires the token that the services share, if one is configured.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use subtle::ConstantTimeEq;

use crate::platform::http::problem::Problem;

/// The token that a service requires, if any.
#[derive(Clone)]
pub struct ServiceToken(pub Option<String>);

/// Whether the headers contain this bearer token. Compares in constant time.
#[must_use]
pub fn has_bearer_token(headers: &HeaderMap, token: &str) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    sent.is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes())))
}

/// Whether a route needs no token: routes for people, probes and Prometheus, which have none, and
/// those of the gremlin, which has a token of its own.
fn is_open(path: &str) -> bool {
    ["/gremlin/", "/docs"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || ["/health", "/livez", "/readyz", "/metrics", "/openapi.json"].contains(&path)
}

/// Middleware: rejects requests without the token.
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
    let is_admitted = token.is_none_or(|token| has_bearer_token(request.headers(), token))
        || is_open(request.path());
    if is_admitted {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let detail = "Only other services may call this one. Send their token in the header \
        Authorization: Bearer.";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    Ok(request.error_response(problem).map_into_right_body())
}
