//! The span of a request, which continues the trace of its caller.

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::platform::deadline::ArrivalTime;
use crate::platform::http::route::{is_polled, route_of};
use crate::platform::observability::telemetry;
use crate::platform::observability::trace_context::{TraceHeaders, context_of};

/// Returns the span of a request or of a call of a batch. It is a child of the span of the caller
/// if `caller` has a valid `traceparent`.
#[must_use]
pub fn request_span(method: &str, route: &str, path: &str, caller: &TraceHeaders) -> Span {
    let span = if telemetry::is_exporting() {
        tracing::info_span!(
            "request",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = tracing::field::Empty,
            url.path = path,
            order_id = tracing::field::Empty,
        )
    } else {
        tracing::info_span!("request", order_id = tracing::field::Empty)
    };
    // Fails only without a subscriber. Then there are no traces.
    let _ = span.set_parent(context_of(caller));
    span
}

/// Records the status of the response in the span of the request.
pub fn record_status(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    // OpenTelemetry: only a 5xx is an error of a server span, and success is not recorded.
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Makes the span of each request.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let route = route_of(request);
        let mut caller = TraceHeaders::from_headers(request.headers());
        // The traces of probes would soon displace those of orders in a store of limited size.
        if caller.traceparent.is_none() && is_polled(route.as_str()) {
            caller = TraceHeaders::unsampled();
        }
        let span = request_span(
            request.method().as_str(),
            route.as_str(),
            request.path(),
            &caller,
        );
        request.extensions_mut().insert(route);
        request.extensions_mut().insert(ArrivalTime::now());
        span
    }

    fn on_request_end<B: MessageBody>(
        span: Span,
        outcome: &Result<ServiceResponse<B>, actix_web::Error>,
    ) {
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        record_status(&span, status);
    }
}
