//! The trace of the current span, and the headers that carry it from service to service.

use std::fmt;

use actix_web::http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The headers that carry a trace from service to service: W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";

pub const TRACESTATE: &str = "tracestate";

/// A longer `tracestate` is not passed on; the standard asks for this many characters.
const MAX_TRACESTATE_LENGTH: usize = 512;

/// What a request carries of the trace that it belongs to.
#[derive(Debug, Clone, Default)]
pub struct TraceHeaders {
    pub traceparent: Option<String>,
    /// What other systems noted about the trace; passed on as it came.
    pub tracestate: Option<String>,
}

impl TraceHeaders {
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
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

    /// For what the current span calls.
    #[must_use]
    pub fn current() -> Self {
        let tracestate = current_span().map(|span| span.trace_state().header());
        Self {
            traceparent: current_traceparent(),
            tracestate: tracestate.filter(|state| !state.is_empty()),
        }
    }

    /// For a request that only carries those of others: each has its own trace, and there is none
    /// of the carrier.
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

/// Whether what happens in the current span will be exported: else its details need not be put
/// together.
#[must_use]
pub fn is_sampled() -> bool {
    Context::current().span().span_context().is_sampled()
}

/// Links a span to the trace of which a stored `traceparent` tells.
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

pub(crate) fn context_of(headers: &TraceHeaders) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), headers)
}

/// Trace id of the span we are in, as 32 hex digits.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    current_span().map(|span| digits(&span).to_string())
}

/// The `traceparent` header for what the current span calls or stores for later.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let span = current_span()?;
    let (parent, sampled) = (
        u64::from_be_bytes(span.span_id().to_bytes()),
        u8::from(span.is_sampled()),
    );
    Some(format!("00-{}-{parent:016x}-{sampled:02x}", digits(&span)))
}

/// A trace's id as 32 hex digits, by way of a UUID: that is as long, and writes them from a table.
pub(crate) fn digits(span: &SpanContext) -> impl fmt::Display {
    Uuid::from_bytes(span.trace_id().to_bytes()).simple()
}

/// A trace of its own that is not recorded.
#[must_use]
pub fn unsampled_traceparent() -> String {
    format!(
        "00-{:032x}-{:016x}-00",
        rand::random_range(1..=u128::MAX),
        rand::random_range(1..=u64::MAX)
    )
}

/// Notes something in the current span that its creator does not know of.
pub fn annotate(key: &'static str, value: String) {
    Span::current().set_attribute(key, value);
}

/// Trace id inside a stored `traceparent`.
#[must_use]
pub fn trace_id_of(traceparent: &str) -> Option<String> {
    traceparent.split('-').nth(1).map(str::to_owned)
}

/// Inside a formatter the subscriber is locked; the span is read from OpenTelemetry's own context.
pub(crate) fn current_span() -> Option<SpanContext> {
    let current = Context::current();
    Some(current.span().span_context().clone()).filter(SpanContext::is_valid)
}
