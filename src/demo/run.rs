//! Runs the demo from start to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::sync::watch;

use super::announcement::announce_when_ready;
use super::config::Config;
use super::database::Database;
use super::error::DemoError;
use super::services::keep_all_running;
use crate::platform::http::listener::explain_bind_error;
use crate::platform::output;
use crate::platform::shutdown::Shutdown;
use crate::testbed::service_kind::ServiceKind;

const PORT_FLAGS: &str = "--order-port, --inventory-port, --payment-port";

/// Runs until a stop is requested, then stops everything in order.
///
/// # Errors
/// See [`DemoError`]. Whatever was started is stopped first.
pub async fn run(config: Config, shutdown: &Shutdown) -> Result<(), DemoError> {
    let addresses = config.addresses();
    for kind in ServiceKind::ALL {
        check_port(addresses.socket_address(kind))?;
    }
    let mut database = Database::open(&config).await?;
    let announcement = announce_when_ready(addresses, database.access(&config));
    let (stop, _) = watch::channel(false);
    let services = keep_all_running(addresses, database.url(), config.verbose, stop.clone());
    let services = tokio::spawn(services);
    let outcome = tokio::select! {
        () = shutdown.requested() => Ok(()),
        ended = services => ended.map_err(io::Error::other)?,
        failed = database.keep_running() => Err(failed),
        never = announcement => match never {},
    };
    output::print_line("stopping …");
    stop.send_replace(true);
    // Each service has a receiver until it has ended.
    stop.closed().await;
    database.close().await;
    output::print_line("stopped");
    outcome
}

fn check_port(address: SocketAddr) -> Result<(), DemoError> {
    let in_use = |error| DemoError::Listen {
        address,
        cause: explain_bind_error(&error, address, PORT_FLAGS),
    };
    TcpListener::bind(address).map(drop).map_err(in_use)
}
