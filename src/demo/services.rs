//! The demo's services as supervised processes.

use std::io;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::control::ControlAddress;
use super::error::DemoError;
use crate::platform::environment::variable;
use crate::platform::http::middleware::access_log;
use crate::platform::observability::telemetry::DEFAULT_LOG_FILTER;
use crate::platform::output;
use crate::testbed::addresses::Addresses;
use crate::testbed::environment::service_environment;
use crate::testbed::process::{LineSink, Output, ProcessSpec};
use crate::testbed::service_kind::ServiceKind;
use crate::testbed::supervisor::Supervisor;

/// How the services are started.
pub struct ServicesConfig {
    pub addresses: Addresses,
    /// With the password.
    pub database_url: String,
    /// For the order service, which forwards the requests of its page.
    pub control: ControlAddress,
    /// Whether the log shows each request.
    pub verbose: bool,
}

/// Keeps all services running until `stop` is true. If a service cannot be started, or rejects its
/// configuration, all services stop. `supervisors` are in the order of [`ServiceKind::ALL`].
pub async fn keep_all_running(
    config: ServicesConfig,
    supervisors: [Supervisor; 3],
    stop: watch::Sender<bool>,
) -> Result<(), DemoError> {
    let services = ServiceKind::ALL.into_iter().zip(supervisors);
    let services = services.map(|(kind, supervisor)| {
        let (stop, config) = (&stop, &config);
        async move {
            let outcome = match process_spec(kind, config) {
                Ok(spec) => supervisor.keep_running(spec, stop.subscribe()).await,
                Err(error) => Err(error),
            };
            stop.send_replace(true);
            outcome.map_err(|error| DemoError::Service(kind, error))
        }
    });
    join_all(services).await.into_iter().collect()
}

fn process_spec(kind: ServiceKind, config: &ServicesConfig) -> io::Result<ProcessSpec> {
    let ServicesConfig {
        addresses,
        database_url,
        control,
        verbose,
    } = config;
    let mut environment = service_environment(kind, addresses, database_url);
    if kind == ServiceKind::Order {
        environment.push(("DEMO_CONTROL_URL".to_owned(), control.url.clone()));
        environment.push(("DEMO_CONTROL_TOKEN".to_owned(), control.token.0.clone()));
    }
    let mut set_default = |name: &str, value: String| {
        if variable(name).is_none() {
            environment.push((name.to_owned(), value));
        }
    };
    let dashboard_port = addresses.port(ServiceKind::Order);
    let origins = format!("http://localhost:{dashboard_port},http://127.0.0.1:{dashboard_port}");
    set_default("CORS_ALLOWED_ORIGINS", origins);
    set_default("LOG_FORMAT", "pretty".to_owned());
    if !verbose {
        set_default("RUST_LOG", log_filter_without_requests());
    }
    let mut arguments = vec![kind.to_string()];
    // The service writes to a pipe, so only the demo knows whether its lines end on a terminal.
    if output::supports_colours(&io::stdout()) {
        arguments.push("--coloured-log".to_owned());
    }
    Ok(ProcessSpec {
        program: std::env::current_exe()?,
        arguments,
        environment,
        output: Output::Lines(prefixed_output(kind)),
    })
}

/// Orders, faults, circuit breakers and restarts, but no line for each request.
fn log_filter_without_requests() -> String {
    format!("{DEFAULT_LOG_FILTER},{}=warn", access_log::TARGET)
}

/// Prints each line with the service's name in front of it.
fn prefixed_output(kind: ServiceKind) -> LineSink {
    let is_coloured = output::supports_colours(&io::stdout());
    let colour = match kind {
        ServiceKind::Order => "36",
        ServiceKind::Inventory => "33",
        ServiceKind::Payment => "35",
    };
    Arc::new(move |line| {
        if is_coloured {
            output::print_line(format_args!("\x1b[{colour}m{kind:>9} │\x1b[0m {line}"));
        } else {
            output::print_line(format_args!("{kind:>9} │ {line}"));
        }
    })
}
