//! The demo's services as supervised processes.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::DemoError;
use crate::platform::environment::variable;
use crate::platform::http::middleware::access_log;
use crate::platform::observability::telemetry::DEFAULT_LOG_FILTER;
use crate::platform::output;
use crate::testbed::addresses::Addresses;
use crate::testbed::environment::service_environment;
use crate::testbed::process::{LineSink, Output, ProcessSpec};
use crate::testbed::service_kind::ServiceKind;
use crate::testbed::supervisor::keep_running;

/// Keeps all services running until `stop` is true. If a service cannot be started, or rejects its
/// configuration, all services stop.
pub async fn keep_all_running(
    addresses: Addresses,
    database_url: String,
    verbose: bool,
    stop: watch::Sender<bool>,
) -> Result<(), DemoError> {
    let keep = |kind: ServiceKind| {
        let (stop, database_url) = (stop.clone(), &database_url);
        async move {
            let spec = process_spec(kind, &addresses, database_url, verbose)?;
            let outcome = keep_running(spec, stop.subscribe()).await;
            stop.send_replace(true);
            outcome
        }
    };
    let [order, inventory, payment] = ServiceKind::ALL.map(keep);
    let (order, inventory, payment) = tokio::join!(order, inventory, payment);
    for (kind, outcome) in ServiceKind::ALL
        .into_iter()
        .zip([order, inventory, payment])
    {
        outcome.map_err(|error| DemoError::Service(kind, error))?;
    }
    Ok(())
}

fn process_spec(
    kind: ServiceKind,
    addresses: &Addresses,
    database_url: &str,
    verbose: bool,
) -> io::Result<ProcessSpec> {
    let mut environment = service_environment(kind, addresses, database_url);
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
