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
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::json_log::{JsonLine, OrderIdOnly};
pub use super::otlp::{Certificates, Export, Protocol};
use super::plain_log::PlainLine;
use crate::platform::output;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: one short line for each event.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Returns `Pretty` on a terminal and `Json` otherwise.
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
    /// The name of the service in traces. When absent, the one in `OTEL_RESOURCE_ATTRIBUTES`, or else
    /// the service's own.
    pub service_name: Option<String>,
    /// Where spans are sent. When absent, they are not sent.
    pub export: Option<Export>,
    /// What the configuration says and this program ignores.
    pub warnings: Vec<String>,
}

/// Whether spans are exported. If not, they exist only for their ids and have no attributes.
static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Whether this process exports spans.
#[must_use]
pub fn is_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

/// Upper bound on sending the last spans at shutdown, for a collector that does not respond.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The target under which actix-http logs faults of clients as errors: bytes that are not HTTP, a TLS
/// handshake, a connection that ends early. Any client can cause them, so they are shown only at the
/// level debug.
const CLIENT_FAULTS: &str = "actix_http::h1::dispatcher";

/// Keeps telemetry alive. It must be flushed last.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Installs the subscriber of the process. Must be called on the main runtime, on which the exporter
    /// runs.
    ///
    /// # Errors
    /// When a subscriber is installed already, or the exporter cannot be set up.
    pub fn install(service: &'static str, config: &Config) -> Result<Self, String> {
        let provider = provider(service, config)?;
        let exported = config.export.is_some();
        EXPORTED.store(exported, Ordering::Relaxed);
        // Traces do not depend on RUST_LOG, because every response carries a trace id.
        let traces = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("valerix"))
            .with_location(false)
            // The times at which a span was polled would cost a clock and a lock at every poll.
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_target(false)
            // Log events are added to their spans only if spans are exported.
            .with_filter(filter_fn(move |metadata| {
                is_ours(metadata) && (exported || metadata.is_span())
            }));
        let levels = config.filter.clone();
        let shows_clients = config
            .filter
            .would_enable(CLIENT_FAULTS, &tracing::Level::DEBUG);
        let levels = levels.and(filter_fn(move |event| {
            shows_clients || event.target() != CLIENT_FAULTS
        }));
        let logged = levels.or(filter_fn(|metadata| {
            metadata.is_span() && is_ours(metadata)
        }));
        let registry = tracing_subscriber::registry().with(traces);
        // A line that cannot be written is lost. The layer would otherwise report it on standard
        // error, and panic if that fails too.
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
                    .with_ansi(output::supports_colours(&io::stdout()))
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

    /// Sends the remaining spans, within [`FLUSH_TIMEOUT`].
    pub fn flush(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Excludes the libraries of the exporter, because each export would cause another one.
fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target().starts_with("valerix") && *metadata.level() <= tracing::Level::INFO
}

/// Exports spans in batches from a thread of its own. If its queue is full, spans are dropped and
/// requests are not delayed. The sampler and the batches follow the standard `OTEL_*` variables.
fn provider(service: &'static str, config: &Config) -> Result<SdkTracerProvider, String> {
    let builder = SdkTracerProvider::builder()
        .with_resource(resource(service, config.service_name.as_deref()));
    let Some(export) = &config.export else {
        // Responses and log lines have a trace id all the same.
        return Ok(builder
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .build());
    };
    Ok(builder.with_batch_exporter(export.exporter()?).build())
}

/// Describes this process in its traces. The attributes that the operator sets take precedence.
fn resource(service: &'static str, configured_name: Option<&str>) -> Resource {
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
    let name = configured_name
        .map(str::to_owned)
        .or_else(|| Some(named?.value.as_str().into_owned()));
    Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(given)
        .with_service_name(name.unwrap_or_else(|| service.to_owned()))
        .build()
}
