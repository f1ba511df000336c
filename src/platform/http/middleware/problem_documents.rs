//! Gives every error response a problem document, and every response the header `x-trace-id`.

use actix_cors::CorsError;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse};

use crate::platform::http::marker::{ConnectionDropped, LogAtDebug};
use crate::platform::http::problem::Problem;
use crate::platform::observability::trace_context;

/// Middleware: gives every error response a problem document, and every response the header
/// `x-trace-id`.
pub async fn render<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let response = next.call(request).await?;
    if response
        .response()
        .extensions()
        .contains::<ConnectionDropped>()
    {
        return Ok(response.map_into_left_body());
    }
    let trace_id = trace_context::current_trace_id();
    let mut response = if response.status().is_client_error() || response.status().is_server_error()
    {
        let (request, response) = response.into_parts();
        let rendered = render_error(&request, response, trace_id.as_deref());
        ServiceResponse::new(request, rendered)
    } else {
        response.map_into_left_body()
    };
    if let Some(trace_id) = trace_id {
        add_trace_id(response.headers_mut(), &trace_id);
    }
    Ok(response)
}

/// Adds the header `x-trace-id` to a response.
pub fn add_trace_id(headers: &mut HeaderMap, trace_id: &str) {
    if let Ok(value) = HeaderValue::from_str(trace_id) {
        headers.insert(HeaderName::from_static("x-trace-id"), value);
    }
}

/// Replaces the body of an error response by a problem document, unless it has one of its own.
fn render_error<B: MessageBody + 'static>(
    request: &HttpRequest,
    response: HttpResponse<B>,
    trace_id: Option<&str>,
) -> HttpResponse<EitherBody<B, BoxBody>> {
    let is_error = response.error().is_some();
    let problem = response
        .error()
        .and_then(|error| error.as_error::<Problem>());
    if !is_error && response.headers().contains_key(header::CONTENT_TYPE) {
        return response.map_into_left_body();
    }
    let fallback;
    let problem = if let Some(problem) = problem {
        problem
    } else {
        let cors = response
            .error()
            .and_then(|error| error.as_error::<CorsError>());
        fallback = cors.map_or_else(
            || Problem::from_status(response.status()),
            Problem::from_cors,
        );
        &fallback
    };
    if problem.is_without_log() {
        LogAtDebug::mark(request);
    }
    problem.log(request.path());
    let mut rendered = problem.response(Some(request.path()), trace_id);
    for (name, value) in response.headers() {
        // The original body may have been compressed. The document is not.
        if name != header::CONTENT_ENCODING && !rendered.headers().contains_key(name) {
            rendered.headers_mut().append(name.clone(), value.clone());
        }
    }
    rendered.map_into_right_body()
}
