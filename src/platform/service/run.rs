//! Runs a service until it is asked to stop.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::web;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::background::{Background, await_schema};
use super::config::{Config, StartError};
use super::role::{Platform, Role};
use crate::platform::client::metrics::ClientMetrics;
use crate::platform::db::Pools;
use crate::platform::db::metrics::DatabaseMetrics;
use crate::platform::fault_injection::exempt::ExemptRoutes;
use crate::platform::fault_injection::metrics::GremlinMetrics;
use crate::platform::fault_injection::{Gremlin, failpoint};
use crate::platform::http::metrics::HttpMetrics;
use crate::platform::http::{app, listener};
use crate::platform::observability::metrics::Registry;
use crate::platform::observability::task_metrics::TaskMetrics;
use crate::platform::observability::telemetry::Telemetry;
use crate::platform::shutdown::Shutdown;

/// How often the metrics are updated that are not counted as things happen.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);
/// Assumed if the limit of open files cannot be read.
const DEFAULT_DESCRIPTOR_LIMIT: u64 = 1024;

/// Runs a service until it is asked to stop.
///
/// # Errors
/// When it cannot start, or the database is unsuitable for its schema.
pub async fn run<R: Role>(
    config: Config,
    role: impl FnOnce(&Platform) -> prometheus::Result<R>,
) -> Result<(), StartError> {
    let listener = bind(&config)?;
    let telemetry =
        Telemetry::install(R::SERVICE, &config.telemetry).map_err(StartError::Telemetry)?;
    let shutdown = Shutdown::listen()?;
    if config.supervised {
        shutdown.watch_supervisor();
    }
    if let Some(plan) = config.failpoint.clone() {
        tracing::warn!(?plan, "a failpoint is armed");
        failpoint::arm(plan);
    }
    let settings = server_settings(&config, shutdown.clone());
    let platform = platform::<R>(&config)?;
    tokio::spawn(update_metrics(platform.clone()));
    warn_of_open_gremlin(&config);
    warn_of_open_operator_routes::<R>(&config);
    let role = role(&platform)?;
    let address = listener.local_addr()?;
    let (database, version) = (&config.database_url, env!("CARGO_PKG_VERSION"));
    tracing::info!(%address, %database, version, "listening");
    let background = Background {
        role: role.clone(),
        platform: platform.clone(),
        shutdown: shutdown.clone(),
    };
    let server = app::serve(listener, &config, platform, role, settings)?;
    let schema = await_schema(&config, shutdown, background);
    tokio::pin!(server);
    let outcome = tokio::select! {
        ended = &mut server => ended.map_err(StartError::from),
        Err(error) = schema => Err(error),
    };
    match &outcome {
        Ok(()) => tracing::info!("stopped"),
        Err(error) => tracing::error!(%error, "stopped"),
    }
    telemetry.flush();
    outcome
}

fn bind(config: &Config) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(config.host, config.port);
    TcpListener::bind(address).map_err(|error| StartError::Listen {
        address,
        cause: listener::explain_bind_error(&error, address, "PORT (--port)"),
    })
}

fn server_settings(config: &Config, shutdown: Shutdown) -> listener::Settings {
    let (descriptors, workers) = (raise_descriptor_limit(), worker_count());
    listener::Settings {
        workers,
        connections_per_worker: listener::connections_per_worker(
            descriptors,
            config.database_pool_size,
            workers,
        ),
        shutdown,
    }
}

fn warn_of_open_gremlin(config: &Config) {
    if config.gremlin.is_open() && !config.host.is_loopback() {
        tracing::warn!(
            host = %config.host,
            "every client that reaches this port can inject faults: set GREMLIN_TOKEN, or \
             GREMLIN_ENABLED=false"
        );
    }
}

fn warn_of_open_operator_routes<R: Role>(config: &Config) {
    let is_open = !R::OPERATOR_ROUTES.is_empty() && config.operator_token.is_none();
    if is_open && !config.host.is_loopback() {
        let routes = R::OPERATOR_ROUTES
            .iter()
            .map(|(method, path)| format!("{method} {path}"));
        tracing::warn!(
            host = %config.host,
            routes = routes.collect::<Vec<_>>().join(", "),
            "every client that reaches this port can use the routes for operators: set \
             OPERATOR_TOKEN"
        );
    }
}

/// Returns the number of worker threads: half of the processors, rounded up. The other services and
/// the database need the rest, and fewer threads form larger batches.
fn worker_count() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

/// Registers the metrics, and builds the platform of the main thread.
pub(super) fn platform<R: Role>(config: &Config) -> prometheus::Result<Platform> {
    let registry = Registry::new()?;
    // The worker threads, the background thread and the main thread have a pool each.
    let pools = Pools::new(
        &config.database_url,
        config.database_pool_size,
        worker_count() + 2,
        DatabaseMetrics::new(&registry)?,
    );
    let gremlin = Gremlin::new(
        config.gremlin.clone(),
        GremlinMetrics::new(&registry)?,
        ExemptRoutes::new(R::EXEMPT_FROM_FAULTS),
    );
    let task_metrics = TaskMetrics::new(&registry)?;
    task_metrics.add_current_runtime();
    Ok(Platform {
        database: pools.for_this_thread(),
        pools,
        gremlin,
        http_metrics: web::Data::new(HttpMetrics::new(&registry, R::SERVICE)?),
        client_metrics: web::Data::new(ClientMetrics::new(&registry)?),
        task_metrics,
        registry,
    })
}

/// Raises the limit of open files to the hard limit, and returns it. On many systems the soft limit
/// is 1,024, which idle connections alone can exceed. If it cannot be raised, fewer connections are
/// accepted.
fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return DEFAULT_DESCRIPTOR_LIMIT;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            soft
        }
    }
}

/// Updates the metrics of connections and tasks at intervals.
async fn update_metrics(platform: Platform) {
    let mut tick = tokio::time::interval(METRICS_INTERVAL);
    loop {
        tick.tick().await;
        platform.pools.update_metrics();
        platform.task_metrics.update();
    }
}
