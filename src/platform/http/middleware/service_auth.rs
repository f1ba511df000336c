//! Requires the token that the services share, if one is configured.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, web};

use crate::platform::http::bearer_token::has_bearer_token;
use crate::platform::http::operator::OperatorToken;
use crate::platform::http::problem::Problem;

/// The token that a service requires, if any, and the routes that do not require it.
#[derive(Clone)]
pub struct ServiceToken {
    pub token: Option<String>,
    /// Method and pattern of each route for operators. These require the token of the operators.
    pub operator_routes: &'static [(&'static str, &'static str)],
}

/// Whether a path needs no token: paths for people, probes and Prometheus, which have none, and
/// those of the gremlin, which has a token of its own.
fn is_open(path: &str) -> bool {
    ["/gremlin/", "/docs"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || ["/health", "/livez", "/readyz", "/metrics", "/openapi.json"].contains(&path)
}

/// Whether a request has the token of the services, or needs none.
fn is_admitted(request: &ServiceRequest, required: &ServiceToken) -> bool {
    let Some(token) = &required.token else {
        return true;
    };
    has_bearer_token(request.headers(), token)
        || is_open(request.path())
        || is_for_operators(request, required.operator_routes)
        || is_read_by_operator(request)
}

fn is_for_operators(request: &ServiceRequest, routes: &[(&str, &str)]) -> bool {
    let pattern = request.match_pattern();
    let route = (request.method().as_str(), pattern.as_deref().unwrap_or(""));
    routes.contains(&route)
}

/// Whether the request is safe and has the operators' token. False if none is configured.
fn is_read_by_operator(request: &ServiceRequest) -> bool {
    let token = request
        .app_data::<web::Data<OperatorToken>>()
        .and_then(|token| token.0.as_deref());
    request.method().is_safe()
        && token.is_some_and(|token| has_bearer_token(request.headers(), token))
}

/// Middleware: rejects requests without the token.
///
/// # Errors
/// Those of the service behind it.
pub async fn authenticate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let required = request.app_data::<web::Data<ServiceToken>>();
    if required.is_none_or(|required| is_admitted(&request, required)) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let detail = "Only other services may call this one. Send their token in the header \
        Authorization: Bearer.";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    Ok(request.error_response(problem).map_into_right_body())
}
