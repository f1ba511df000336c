//! Logs and traces: one subscriber, set up once at start.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use percent_encoding::percent_decode_str;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use uuid::Uuid;

use super::json_log::{JsonLine, OrderIdOnly};
use super::metrics::route_of;
pub use super::otlp::{Certificates, Export, Protocol};
use crate::platform::deadline::Arrived;
use crate::platform::output;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Pretty on a terminal, else JSON.
    #[must_use]
    pub fn detect() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Pretty
        } else {
            Self::Json
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub format: LogFormat,
    /// `RUST_LOG`: levels by target.
    pub filter: Targets,
    /// The service's name in traces; that of `OTEL_RESOURCE_ATTRIBUTES` or its own when absent.
    pub service_name: Option<String>,
    /// Where spans go; nowhere when absent.
    pub export: Option<Export>,
    /// What was ignored in the configuration.
    pub warnings: Vec<String>,
}

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
    fn of(headers: &HeaderMap) -> Self {
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

/// Whether spans leave this process at all: else they are there for their ids alone, and nothing is
/// put together for them.
static EXPORTED: AtomicBool = AtomicBool::new(false);

/// How long the last spans may take to leave at shutdown, however dead the collector is.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Where actix-http logs what clients do to their connections: bytes that are not HTTP, a TLS
/// handshake, a connection that ends early. It logs them as errors, but anybody can cause them:
/// they are shown at the level debug.
const CONNECTIONS: &str = "actix_http::h1::dispatcher";

/// Keeps telemetry alive; flush it last of all.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Installs the process's subscriber. Must be called on the main runtime, where the exporter's
    /// connection lives.
    ///
    /// # Errors
    /// When a subscriber was installed before, or the exporter cannot be set up.
    pub fn install(service: &'static str, config: &Config) -> Result<Self, String> {
        let provider = provider(service, config)?;
        let exported = config.export.is_some();
        EXPORTED.store(exported, Ordering::Relaxed);
        // What is traced does not depend on what is logged: every answer carries a trace id,
        // whatever RUST_LOG says.
        let traces = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("valerix"))
            .with_location(false)
            // Times how long each span was polled: a clock and a lock at every poll, for figures
            // that nobody reads.
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_target(false)
            // What is logged is an event of its span too, where anybody will see it.
            .with_filter(filter_fn(move |metadata| {
                is_ours(metadata) && (exported || metadata.is_span())
            }));
        let levels = config.filter.clone();
        let shows_clients = config
            .filter
            .would_enable(CONNECTIONS, &tracing::Level::DEBUG);
        let levels = levels.and(filter_fn(move |event| {
            shows_clients || event.target() != CONNECTIONS
        }));
        let logged = levels.or(filter_fn(|metadata| {
            metadata.is_span() && is_ours(metadata)
        }));
        let registry = tracing_subscriber::registry().with(traces);
        // A line that cannot be written is lost. The layer would say so on standard error, and
        // panic where that fails too.
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stdout)
            .log_internal_errors(false);
        match config.format {
            LogFormat::Json => {
                let lines = lines
                    .fmt_fields(OrderIdOnly)
                    .event_format(JsonLine { service });
                registry.with(lines.with_filter(logged)).try_init()
            }
            LogFormat::Pretty => {
                let lines = lines
                    .with_ansi(output::takes_colours(&io::stdout()))
                    .event_format(PlainLine);
                registry.with(lines.with_filter(logged)).try_init()
            }
        }
        .map_err(|error| error.to_string())?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { provider })
    }

    /// Sends what is still waiting to be sent, within [`FLUSH_LIMIT`].
    pub fn flush(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_LIMIT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The exporter's own libraries must not be traced, or each export would make the next one.
fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target().starts_with("valerix") && *metadata.level() <= tracing::Level::INFO
}

/// Batches leave from a thread of their own; when the queue is full, spans are dropped rather than
/// requests held up. The sampler and the batches follow the standard `OTEL_*` variables.
fn provider(service: &'static str, config: &Config) -> Result<SdkTracerProvider, String> {
    let builder = SdkTracerProvider::builder()
        .with_resource(resource(service, config.service_name.as_deref()));
    let Some(export) = &config.export else {
        // Trace ids all the same, for answers and logs.
        return Ok(builder
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .build());
    };
    Ok(builder.with_batch_exporter(export.exporter()?).build())
}

/// What describes this process in its traces. Operators' attributes win over the program's own.
fn resource(service: &'static str, given_name: Option<&str>) -> Resource {
    let given = EnvResourceDetector::new().detect();
    // The SDK leaves values percent-encoded.
    let given = given.iter().map(|(key, value)| {
        let value = value.as_str();
        KeyValue::new(
            key.clone(),
            percent_decode_str(&value).decode_utf8_lossy().into_owned(),
        )
    });
    let given: Vec<_> = given
        .filter(|pair| !pair.value.as_str().is_empty())
        .collect();
    let named = given
        .iter()
        .find(|pair| pair.key == Key::from_static_str("service.name"));
    let name = given_name
        .map(str::to_owned)
        .or_else(|| Some(named?.value.as_str().into_owned()));
    Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(given)
        .with_service_name(name.unwrap_or_else(|| service.to_owned()))
        .build()
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

fn context_of(headers: &TraceHeaders) -> Context {
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
pub(super) fn digits(span: &SpanContext) -> impl fmt::Display {
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

/// The span of what is asked of a route, child of the caller's where a valid `traceparent` came
/// with it.
#[must_use]
pub fn request_span(method: &str, route: &str, path: &str, caller: &TraceHeaders) -> Span {
    let span = if EXPORTED.load(Ordering::Relaxed) {
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
    // Fails only where no subscriber listens, and then there is no trace to join.
    let _ = span.set_parent(context_of(caller));
    span
}

/// Notes in a request's span how it was answered.
pub fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    // HTTP semantic conventions: for a server span only 5xx is an error, and success stays unset.
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of a request.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let route = route_of(request);
        let caller = TraceHeaders::of(request.headers());
        let span = request_span(
            request.method().as_str(),
            route.as_str(),
            request.path(),
            &caller,
        );
        request.extensions_mut().insert(route);
        request.extensions_mut().insert(Arrived::now());
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
        answered(&span, status);
    }
}

/// Time, level, message, the event's fields, and the first digits of the trace: what fits a
/// terminal.
struct PlainLine;

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        write!(
            writer,
            "{} {:>5} ",
            chrono::Local::now().format("%H:%M:%S%.3f"),
            event.metadata().level()
        )?;
        context.format_fields(writer.by_ref(), event)?;
        if let Some(span) = current_span() {
            write!(writer, " trace={:.8}", span.trace_id().to_string())?;
        }
        writeln!(writer)
    }
}

/// Inside a formatter the subscriber is locked; the span is read from OpenTelemetry's own context.
pub(super) fn current_span() -> Option<SpanContext> {
    let current = Context::current();
    Some(current.span().span_context().clone()).filter(SpanContext::is_valid)
}
