//! Logs and traces: one subscriber, set up once at start.

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

/// Whether spans leave this process at all: else they are there for their ids alone, and nothing is
/// put together for them.
static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Whether spans leave this process.
#[must_use]
pub fn is_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

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
