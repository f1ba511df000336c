//! Runs the demo from start to stop.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;

use super::announcement::announce_when_ready;
use super::campaign::Campaigns;
use super::config::Config;
use super::control::ControlServer;
use super::database::{Database, Source};
use super::error::{DemoError, PORT_FLAGS};
use super::services::{ServicesConfig, keep_all_running};
use crate::platform::client::{BaseUrl, Client};
use crate::platform::deadline::Deadline;
use crate::platform::http::health::Health;
use crate::platform::http::listener::explain_bind_error;
use crate::platform::output;
use crate::platform::shutdown::Shutdown;
use crate::testbed::addresses::Addresses;
use crate::testbed::service_kind::ServiceKind;
use crate::testbed::supervisor::Supervisor;

/// Programs that do not speak HTTP may never answer.
const LIVEZ_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than the 3 s by which the dashboard's gremlin button delays a service.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until a stop is requested, then stops everything in order.
///
/// # Errors
/// See [`DemoError`]. Whatever was started is stopped first.
pub async fn run(config: Config, shutdown: &Shutdown) -> Result<(), DemoError> {
    let addresses = config.addresses();
    // Before the ports: the lock file names the process of a demo that already runs.
    let source = Source::open(&config)?;
    for kind in ServiceKind::ALL {
        check_port(&addresses, kind).await?;
    }
    let [order, inventory, payment] =
        ServiceKind::ALL.map(|_| Supervisor::new(config.restart_pause));
    let supervisors = [order.0, inventory.0, payment.0];
    let control = ControlServer::bind()?;
    let control_address = control.address().clone();
    let campaigns = Campaigns::new()?;
    let control = control.serve([order.1, inventory.1, payment.1], campaigns.clone())?;
    let mut database = Database::open(source, config.reset).await?;
    let announcement = announce_when_ready(addresses, database.access(&config));
    let (stop, _) = watch::channel(false);
    let services = ServicesConfig {
        addresses,
        database_url: database.url(),
        control: control_address,
        verbose: config.verbose,
    };
    let services = tokio::spawn(keep_all_running(services, supervisors, stop.clone()));
    let outcome = tokio::select! {
        () = shutdown.requested() => Ok(()),
        ended = services => ended.map_err(io::Error::other)?,
        failed = database.keep_running() => Err(failed),
        never = announcement => match never {},
    };
    output::print_line("stopping …");
    control.stop(false).await;
    stop.send_replace(true);
    // Each service has a receiver until it has ended.
    tokio::join!(stop.closed(), campaigns.stop_and_wait());
    database.close().await;
    output::print_line("stopped");
    outcome
}

async fn check_port(addresses: &Addresses, kind: ServiceKind) -> Result<(), DemoError> {
    let address = addresses.socket_address(kind);
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    if error.kind() == io::ErrorKind::AddrInUse {
        let url = addresses.url(kind);
        if let Some(service) = LocalSet::new().run_until(valerix_service_at(&url)).await {
            return Err(DemoError::PortInUse { url, service });
        }
    }
    Err(DemoError::Listen {
        address,
        cause: explain_bind_error(&error, address, PORT_FLAGS),
    })
}

/// The name of the service of Valerix that answers at this address; `None` for anything else.
async fn valerix_service_at(url: &BaseUrl) -> Option<String> {
    let client = Client::new(url.clone());
    // The gremlin does not delay this route.
    let is_alive = client.get("/livez", Deadline::after(LIVEZ_TIMEOUT)).await;
    is_alive.ok().filter(|answer| answer.status.is_success())?;
    let health = client.get("/health", Deadline::after(HEALTH_TIMEOUT)).await;
    let Health { service, .. } = health.ok()?.json().ok()?;
    let mut kinds = ServiceKind::ALL.iter();
    kinds
        .any(|kind| service == format!("{kind}-service"))
        .then_some(service)
}
