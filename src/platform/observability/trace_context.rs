//! The trace of the current span, and the headers that pass it from service to service.

use std::fmt;

use actix_web::http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The header with the trace id, the id of the calling span and whether it is sampled (W3C Trace
/// Context).
pub const TRACEPARENT: &str = "traceparent";
/// The header with what other tracing systems keep in the trace (W3C Trace Context).
pub const TRACESTATE: &str = "tracestate";

/// A longer `tracestate` is not passed on. The standard requires that at least this many characters
/// are.
const MAX_TRACESTATE_LENGTH: usize = 512;

/// The trace headers of a request.
#[derive(Debug, Clone, Default)]
pub struct TraceHeaders {
    pub traceparent: Option<String>,
    /// The data of other tracing systems. It is passed on unchanged.
    pub tracestate: Option<String>,
}

impl TraceHeaders {
    /// Reads the headers of a request.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let values = headers
            .get_all(TRACESTATE)
            .filter_map(|value| value.to_str().ok());
        let tracestate = values.collect::<Vec<_>>().join(",");
        let traceparent = headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok());
        Self {
            traceparent: traceparent.map(str::to_owned),
            tracestate: Some(tracestate).filter(|state| !state.is_empty()),
        }
    }

    /// Returns the headers for a call from the current span.
    #[must_use]
    pub fn current() -> Self {
        let tracestate = current_span().map(|span| span.trace_state().header());
        Self {
            traceparent: current_traceparent(),
            tracestate: tracestate.filter(|state| !state.is_empty()),
        }
    }

    /// Returns the headers of a new trace that is not sampled, for a request that only carries the
    /// calls of other traces.
    #[must_use]
    pub fn unsampled() -> Self {
        Self {
            traceparent: Some(unsampled_traceparent()),
            tracestate: None,
        }
    }
}

impl Extractor for TraceHeaders {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => self.traceparent.as_deref(),
            TRACESTATE => self
                .tracestate
                .as_deref()
                .filter(|state| state.len() <= MAX_TRACESTATE_LENGTH),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

/// Whether the current span is exported. If not, its attributes need not be computed.
#[must_use]
pub fn is_sampled() -> bool {
    Context::current().span().span_context().is_sampled()
}

/// Links a span to the span of a stored `traceparent`.
pub fn link(span: &Span, traceparent: &str) {
    let headers = TraceHeaders {
        traceparent: Some(traceparent.to_owned()),
        tracestate: None,
    };
    let origin = context_of(&headers).span().span_context().clone();
    if origin.is_valid() {
        span.add_link(origin);
    }
}

/// Returns the context of the caller that sent these headers.
pub(crate) fn context_of(headers: &TraceHeaders) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), headers)
}

/// Returns the trace id of the current span, as 32 hex digits.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    current_span().map(|span| hex_trace_id(&span).to_string())
}

/// Returns the `traceparent` of the current span.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let span = current_span()?;
    let (parent, sampled) = (
        u64::from_be_bytes(span.span_id().to_bytes()),
        u8::from(span.is_sampled()),
    );
    Some(format!(
        "00-{}-{parent:016x}-{sampled:02x}",
        hex_trace_id(&span)
    ))
}

/// Formats a trace id as 32 hex digits. It goes through a UUID, which has the same length and
/// formats its digits from a table.
pub(crate) fn hex_trace_id(span: &SpanContext) -> impl fmt::Display {
    Uuid::from_bytes(span.trace_id().to_bytes()).simple()
}

/// Returns the `traceparent` of a new trace that is not sampled.
#[must_use]
pub fn unsampled_traceparent() -> String {
    format!(
        "00-{:032x}-{:016x}-00",
        rand::random_range(1..=u128::MAX),
        rand::random_range(1..=u64::MAX)
    )
}

/// Adds an attribute to the current span.
pub fn set_attribute(key: &'static str, value: String) {
    Span::current().set_attribute(key, value);
}

/// Returns the trace id for the response to a request without a span: that of its caller, or a new
/// one.
#[must_use]
pub fn trace_id_for(headers: &HeaderMap) -> String {
    let caller = context_of(&TraceHeaders::from_headers(headers));
    let caller = caller.span().span_context().clone();
    if caller.is_valid() {
        return hex_trace_id(&caller).to_string();
    }
    format!("{:032x}", rand::random_range(1..=u128::MAX))
}

/// Returns the trace id in a stored `traceparent`.
#[must_use]
pub fn trace_id_of(traceparent: &str) -> Option<String> {
    traceparent.split('-').nth(1).map(str::to_owned)
}

/// Returns the context of the current span. It comes from OpenTelemetry, because a log formatter
/// cannot access the subscriber.
pub(crate) fn current_span() -> Option<SpanContext> {
    let current = Context::current();
    Some(current.span().span_context().clone()).filter(SpanContext::is_valid)
}
