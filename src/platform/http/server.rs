//! How a service is put together, started and stopped.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::HttpServiceFactory;
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, header};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, web};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing_actix_web::TracingLogger;
use utoipa::openapi::{InfoBuilder, OpenApiBuilder};
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::{Config as SwaggerConfig, SwaggerUi};

use super::connection;
use super::health::{self, Checks};
use super::listener;
use super::middleware::browser_guard::{self, BrowserGuard};
use super::middleware::service_auth;
use super::middleware::service_auth::ServiceToken;
use super::middleware::{framing, query_parameters};
use super::openapi::{self, Description};
use super::problem;
use crate::platform::db::{Database, DatabaseUrl, Pools, SchemaError, is_ready, migrate};
use crate::platform::fault_injection;
use crate::platform::fault_injection::{Gremlin, failpoint};
use crate::platform::observability::metrics;
use crate::platform::observability::metrics::{Metrics, Observer};
use crate::platform::observability::task_metrics::Runtimes;
use crate::platform::observability::telemetry::{RequestSpan, Telemetry};
use crate::platform::shutdown::Shutdown;

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// For the documentation's pages. Swagger UI writes styles into its elements.
const DOCS_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// What every service is configured with.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    pub port: u16,
    pub database_url: DatabaseUrl,
    pub database_pool_size: u32,
    pub migrate: bool,
    pub cors_allowed_origins: Vec<String>,
    /// Names beside those of this machine under which a service on a loopback address is served.
    pub allowed_hosts: Vec<String>,
    pub gremlin: fault_injection::Config,
    /// What services show each other, and those behind the order service then ask for.
    pub service_token: Option<String>,
    pub telemetry: super::super::observability::telemetry::Config,
    /// Stop when standard input ends: the supervisor holds the other end.
    pub supervised: bool,
    /// Where a test makes the process die or stall.
    pub crash: Option<failpoint::Plan>,
}

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: String },
    #[error("telemetry: {0}")]
    Telemetry(String),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What a role adds to the platform.
pub trait Role: Clone + Send + 'static {
    const SERVICE: &'static str;
    /// Only other services call it.
    const INTERNAL: bool;
    /// What the service reads and writes.
    const TABLES: &'static [&'static str];

    /// What the service depends on. Called once in each worker.
    fn checks(&self, platform: &Platform) -> Checks;

    /// The role's routes and their state. Called once in each worker.
    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>);

    /// Called for each finished request.
    fn observer(&self) -> Option<Observer> {
        None
    }

    /// What the role does beside answering requests, on a thread of its own, until it is told to
    /// stop.
    fn background(self, _: Platform, _: Shutdown) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// What the platform gives to a role; clones share it, on one thread.
#[derive(Clone)]
pub struct Platform {
    pub database: Database,
    pools: Pools,
    pub metrics: web::Data<Metrics>,
    pub gremlin: Gremlin,
    runtimes: Runtimes,
}

impl Platform {
    /// For another thread: with connections of its own.
    fn here(&self) -> Self {
        self.runtimes.join();
        Self {
            database: self.pools.here(),
            ..self.clone()
        }
    }
}

/// Threads that answer requests: half of the processors. The other services and the database have
/// work too, and fewer threads wake less often and find more to do together.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

/// Runs a service until it is told to stop.
///
/// # Errors
/// When it cannot start; once it serves, trouble is answered and logged instead.
pub async fn run<R: Role>(
    config: Config,
    role: impl FnOnce(&Platform) -> R,
) -> Result<(), StartError> {
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address).map_err(|error| StartError::Listen {
        address,
        cause: why_not_bound(&error, address, "PORT (--port)"),
    })?;
    let telemetry =
        Telemetry::install(R::SERVICE, &config.telemetry).map_err(StartError::Telemetry)?;
    let shutdown = Shutdown::listen()?;
    if config.supervised {
        shutdown.watch_supervisor();
    }
    let descriptors = raise_descriptor_limit();
    if let Some(plan) = config.crash.clone() {
        tracing::warn!(?plan, "a crash point is armed");
        failpoint::arm(plan);
    }
    let metrics = web::Data::new(Metrics::new(R::SERVICE)?);
    // Two more than answer requests: the background's, and this one's, on which the live stream is
    // read.
    let pools = Pools::new(
        &config.database_url,
        config.database_pool_size,
        workers() + 2,
    );
    let platform = Platform {
        database: pools.here(),
        pools,
        gremlin: Gremlin::new(config.gremlin.clone(), metrics.clone()),
        metrics,
        runtimes: Runtimes::default(),
    };
    platform.runtimes.join();
    tokio::spawn(report(platform.clone()));
    if config.gremlin.is_open() && !config.host.is_loopback() {
        tracing::warn!(
            host = %config.host,
            "whoever reaches this port can break the service: set GREMLIN_TOKEN, or GREMLIN_ENABLED=false"
        );
    }
    let role = role(&platform);
    let address = listener.local_addr()?;
    tracing::info!(%address, database = %config.database_url, version = env!("CARGO_PKG_VERSION"), "listening");
    let background = Background {
        role: role.clone(),
        platform: platform.clone(),
        shutdown: shutdown.clone(),
    };
    let settings = listener::Settings {
        workers: workers(),
        connections_per_worker: listener::connections_per_worker(
            descriptors,
            config.database_pool_size,
            workers(),
        ),
        shutdown: shutdown.clone(),
    };
    let server = serve(listener, &config, platform, role, settings)?;
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

/// Returns how many descriptors the process may have. The soft limit of many systems is 1,024,
/// fewer than idle connections alone may need. What cannot be raised stays as it is: then
/// connections wait earlier.
fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            soft
        }
    }
}

/// What a role does beside answering requests; it needs the schema.
struct Background<R> {
    role: R,
    platform: Platform,
    shutdown: Shutdown,
}

impl<R: Role> Background<R> {
    /// On a thread with a runtime of its own, because HTTP clients belong to a thread. The process
    /// does not wait for it to end: what it leaves unfinished is taken over like after any
    /// crash.
    fn start(self) -> std::io::Result<()> {
        let Self {
            role,
            platform,
            shutdown,
        } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("background".to_owned())
            .spawn(move || {
                let background = async { role.background(platform.here(), shutdown).await };
                tokio::task::LocalSet::new().block_on(&runtime, background);
            })?;
        Ok(())
    }
}

/// Why nothing can listen on an address, and what helps; `ports` names what sets the port.
#[must_use]
pub fn why_not_bound(error: &std::io::Error, address: SocketAddr, ports: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {port} is taken by another program; set {ports} to a free one")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} needs rights that this user does not have; set {ports} to one above 1023"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("{host} is not an address of this machine; set HOST (--host) to one that is")
        }
        _ => error.to_string(),
    }
}

/// The application, the same in every worker. A request passes the layers from the outermost, which
/// is wrapped last: bytes of the connection → framing → trace → log and metrics → problem documents
/// → browser guard → CORS → token of the services → gremlin → query parameters → route.
fn serve<R: Role>(
    listener: TcpListener,
    config: &Config,
    platform: Platform,
    role: R,
    settings: listener::Settings,
) -> std::io::Result<actix_web::dev::Server> {
    let token = web::Data::new(ServiceToken(
        config.service_token.clone().filter(|_| R::INTERNAL),
    ));
    let origins = Arc::new(config.cors_allowed_origins.clone());
    let guard = BrowserGuard::new(
        config.host,
        &config.cors_allowed_origins,
        &config.allowed_hosts,
    );
    listener::serve(listener, settings, move || {
        let platform = platform.here();
        let document = OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title(format!("Valerix {}", R::SERVICE))
                    .version(env!("CARGO_PKG_VERSION"))
                    .build(),
            )
            .build();
        let (app, document) = App::new()
            .into_utoipa_app()
            .openapi(document)
            .configure(|service| routes(&role, &platform, service))
            .split_for_parts();
        let app = app
            .app_data(web::Data::new(role.checks(&platform)))
            .app_data(web::Data::new(platform.gremlin.clone()))
            .app_data(platform.metrics.clone())
            .app_data(token.clone())
            .app_data(web::Data::new(guard.clone()))
            .app_data(web::Data::new(Description::new(document)))
            .app_data(web::PathConfig::default().error_handler(openapi::unreadable_path))
            .route("/openapi.json", web::get().to(openapi::document))
            .service(web::redirect("/docs", "/docs/"))
            .service(documentation())
            .default_service(web::to(openapi::no_route));
        let app = match role.observer() {
            Some(observer) => app.app_data(observer),
            None => app,
        };
        app.wrap(from_fn(query_parameters::reject_unknown))
            .wrap(from_fn(fault_injection::interfere))
            .wrap(from_fn(service_auth::authenticate))
            .wrap(cors(&origins))
            .wrap(from_fn(browser_guard::refuse_other_sites))
            .wrap(from_fn(problem::render))
            .wrap(from_fn(metrics::observe))
            .wrap(TracingLogger::<RequestSpan>::new())
            .wrap(from_fn(framing::frame))
            .wrap(from_fn(connection::release_answered))
    })
}

fn routes<R: Role>(role: &R, platform: &Platform, service: &mut ServiceConfig<'_>) {
    service
        .service(health::health)
        .service(health::livez)
        .service(health::readyz)
        .service(metrics::exposition);
    fault_injection::routes(&platform.gremlin, service);
    role.routes(platform, service);
}

/// `GET /docs/`
fn documentation() -> impl HttpServiceFactory {
    let headers = DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, DOCS_SECURITY_POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"));
    // By its address: the document is kept once.
    let pages = SwaggerUi::new("/{_:.*}").config(SwaggerConfig::from("/openapi.json"));
    web::scope("/docs").wrap(headers).service(pages)
}

fn cors(origins: &[String]) -> Cors {
    let cors = origins
        .iter()
        .fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
    cors.allowed_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allowed_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ])
        .allowed_header("idempotency-key")
        .expose_headers(["x-trace-id", "location", "retry-after"])
        .max_age(3600)
        // A request from elsewhere is answered without the headers that would let a page read it.
        .block_on_origin_mismatch(false)
}

/// Brings the schema up to date, or waits until somebody else has, however long the database takes
/// to come. Then starts what needs it. Never returns `Ok`, so that it can stand beside the server
/// in a `select!`.
async fn await_schema<R: Role>(
    config: &Config,
    shutdown: Shutdown,
    background: Background<R>,
) -> Result<std::convert::Infallible, StartError> {
    let mut pause = Duration::from_millis(250);
    let pools = background.platform.pools.clone();
    let connecting = pools.connecting();
    pools.expect_schema(config.migrate);
    loop {
        match prepare::<R>(config).await {
            Ok(ready) => {
                connecting.over();
                if ready {
                    pools.expect_schema(false);
                    background.start()?;
                    return std::future::pending().await;
                }
            }
            Err(SchemaError::Unreachable { cause, .. }) => {
                connecting.met(&cause);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
            () = shutdown.requested() => std::future::pending().await,
        }
    }
}

/// Whether the schema is there, and the service may use it.
async fn prepare<R: Role>(config: &Config) -> Result<bool, SchemaError> {
    let applied = if config.migrate {
        Some(migrate(&config.database_url).await?)
    } else {
        None
    };
    let ready = is_ready(&config.database_url, R::TABLES).await?;
    if let Some(applied) = applied.filter(|_| ready) {
        tracing::info!(applied = applied.len(), "schema is up to date");
    }
    Ok(ready)
}

/// Figures that nobody reports when they change.
async fn report(platform: Platform) {
    let mut tick = tokio::time::interval(REPORT_EVERY);
    loop {
        tick.tick().await;
        let (open, idle) = platform.pools.state();
        platform.metrics.pool_open.set(open.into());
        platform.metrics.pool_idle.set(idle.into());
        platform.metrics.tasks.set(platform.runtimes.tasks());
    }
}
