//! Sets up logs and traces, once at the start of the process.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use percent_encoding::percent_decode_str;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::json_log::{JsonLine, OrderIdOnly};
pub use super::otlp::{Certificates, Export, Protocol};
use super::plain_log::PlainLine;
use crate::platform::output;

/// The levels without `RUST_LOG`. They hide the lines in which actix-server reports its workers.
pub const DEFAULT_LOG_FILTER: &str = "info,actix_server=warn";

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One short line per event, for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Returns `Pretty` on a terminal and `Json` otherwise.
    #[must_use]
    pub fn detect() -> Self {
        if io::stdout().is_terminal() {
            Self::Pretty
        } else {
            Self::Json
        }
    }
}

/// The configuration of logs and traces.
#[derive(Debug, Clone)]
pub struct Config {
    pub format: LogFormat,
    /// Whether `Pretty` has colours. `false`: only if standard output is a terminal that supports
    /// them.
    pub is_coloured: bool,
    /// `RUST_LOG`: levels by target.
    pub filter: Targets,
    /// The name of the service in traces. `None`: the one in `OTEL_RESOURCE_ATTRIBUTES`, or
    /// otherwise the service's own name.
    pub service_name: Option<String>,
    /// Where spans are sent. `None`: they are not sent.
    pub export: Option<Export>,
    /// Settings that this program ignores. They are logged at the start.
    pub warnings: Vec<String>,
}

/// Whether spans are exported. If not, they have an id but no attributes.
static IS_EXPORTING: AtomicBool = AtomicBool::new(false);

/// Whether this process exports spans.
#[must_use]
pub fn is_exporting() -> bool {
    IS_EXPORTING.load(Ordering::Relaxed)
}

/// Upper bound on sending the remaining spans at shutdown, in case the collector does not respond.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The target under which actix-http logs faults of clients as errors: bytes that are not HTTP, a
/// TLS handshake, a connection that ends early. Any client can cause them, so they are logged only
/// if the level debug is enabled.
const CLIENT_FAULTS: &str = "actix_http::h1::dispatcher";

/// The tracer provider of the process. It must be flushed before the process ends.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Installs the subscriber of the process. Must be called on the main runtime, because the
    /// exporter runs there.
    ///
    /// # Errors
    /// When a subscriber is installed already, or the exporter cannot be built.
    pub fn install(service: &'static str, config: &Config) -> Result<Self, String> {
        let provider = provider(service, config)?;
        let exports = config.export.is_some();
        IS_EXPORTING.store(exports, Ordering::Relaxed);
        // RUST_LOG has no effect on traces, because every response has a trace id.
        let traces = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("valerix"))
            .with_location(false)
            // Tracking when a span is polled would cost a clock and a lock at every poll.
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_target(false)
            // Log events are added to their spans only if spans are exported.
            .with_filter(filter_fn(move |metadata| {
                is_ours(metadata) && (exports || metadata.is_span())
            }));
        let registry = tracing_subscriber::registry().with(traces);
        // A line that cannot be written is lost. Otherwise the layer would report that on standard
        // error, and panic if that fails too.
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stdout)
            .log_internal_errors(false);
        let filter = log_filter(&config.filter);
        match config.format {
            LogFormat::Json => {
                let lines = lines
                    .fmt_fields(OrderIdOnly)
                    .event_format(JsonLine { service });
                registry.with(lines.with_filter(filter)).try_init()
            }
            LogFormat::Pretty => {
                let lines = lines
                    .with_ansi(config.is_coloured || output::supports_colours(&io::stdout()))
                    .event_format(PlainLine);
                registry.with(lines.with_filter(filter)).try_init()
            }
        }
        .map_err(|error| error.to_string())?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { provider })
    }

    /// Sends the remaining spans, for at most [`FLUSH_TIMEOUT`].
    pub fn flush(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Returns the filter of the log: the levels of `RUST_LOG`, and the spans of this program, of which
/// the log shows the `order_id`.
fn log_filter<S: tracing::Subscriber>(levels: &Targets) -> impl Filter<S> + use<S> {
    let shows_client_faults = levels.would_enable(CLIENT_FAULTS, &tracing::Level::DEBUG);
    let events = levels.clone().and(filter_fn(move |event| {
        shows_client_faults || event.target() != CLIENT_FAULTS
    }));
    events.or(filter_fn(|metadata| {
        metadata.is_span() && is_ours(metadata)
    }))
}

/// Whether a span or an event is of this program. Those of the libraries are excluded, because each
/// export would cause another one.
fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target().starts_with("valerix") && *metadata.level() <= tracing::Level::INFO
}

/// Returns the tracer provider. A separate thread exports spans in batches. If its queue is full,
/// spans are dropped, and requests are not delayed. The standard `OTEL_*` variables configure the
/// sampler and the batches.
fn provider(service: &'static str, config: &Config) -> Result<SdkTracerProvider, String> {
    let builder = SdkTracerProvider::builder()
        .with_resource(resource(service, config.service_name.as_deref()));
    let Some(export) = &config.export else {
        // Nothing is sampled, but responses and log lines still have a trace id.
        return Ok(builder
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .build());
    };
    Ok(builder.with_batch_exporter(export.exporter()?).build())
}

/// Returns the attributes of this process in its traces. Attributes in the environment take
/// precedence.
fn resource(service: &'static str, configured_name: Option<&str>) -> Resource {
    let attributes = EnvResourceDetector::new().detect();
    // The SDK does not decode the percent-encoded values.
    let attributes = attributes.iter().map(|(key, value)| {
        let value = value.as_str();
        KeyValue::new(
            key.clone(),
            percent_decode_str(&value).decode_utf8_lossy().into_owned(),
        )
    });
    let attributes: Vec<_> = attributes
        .filter(|pair| !pair.value.as_str().is_empty())
        .collect();
    let named = attributes
        .iter()
        .find(|pair| pair.key == Key::from_static_str("service.name"));
    let name = configured_name
        .map(str::to_owned)
        .or_else(|| Some(named?.value.as_str().into_owned()));
    Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(attributes)
        .with_service_name(name.unwrap_or_else(|| service.to_owned()))
        .build()
}
