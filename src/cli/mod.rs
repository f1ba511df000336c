//! Every flag and environment variable: read here, checked once, and passed on as plain structs.

mod environment;
mod error;
mod gremlin;
mod load;
mod otlp;
mod parsers;
mod secret_files;
mod soak;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::Targets;

pub use error::parse;
pub use gremlin::{GremlinArgs, GremlinTask};
pub use load::LoadArgs;
use otlp::OtlpArgs;
pub use parsers::{OtlpEndpoint, otlp_endpoint};
use parsers::{
    USUAL_LOG, base_url, boolean, crash_plan, database_url, delay, host_name, ip_address,
    log_filter, milliseconds, origin, page_url, pool_size, port, seconds, seed, share, token,
    trace_url,
};
pub use soak::SoakArgs;

use crate::audit::Elsewhere;
use crate::platform::client::BaseUrl;
use crate::platform::db::DatabaseUrl;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::telemetry;
use crate::platform::observability::telemetry::LogFormat;
use crate::platform::output;
use crate::platform::service;
use crate::{demo, order, payment, prove};

/// An order platform that keeps taking orders while what is behind it breaks, and finishes every
/// one exactly once.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the order service (port 5001)
    Order(OrderArgs),
    /// Run the inventory service (port 5002)
    Inventory(ServiceArgs),
    /// Run the payment service (port 5003)
    Payment(PaymentArgs),
    /// Run all three, on a private database unless `DATABASE_URL` is set
    Demo(DemoArgs),
    /// Apply the schema migrations, and exit
    Migrate(MigrateArgs),
    /// Break a running platform on purpose, see what is broken, or be shown around
    Gremlin(GremlinArgs),
    /// Check the invariants on a live database; exit 1 on a violation, 2 when they could not be
    /// checked
    Audit(AuditArgs),
    /// Run a seeded chaos campaign against freshly started services; exit 0 proved, 1 broken, 2
    /// incomplete
    Prove(ProveArgs),
    /// Run freshly started services under load and faults for a long time; exit 1 when something
    /// grows
    Soak(SoakArgs),
    /// Place orders at a given rate, whatever the answers take, and tell how long they took
    Load(LoadArgs),
    /// GET a service's /livez: exit 0 when it answers, else 1
    Healthcheck(HealthcheckArgs),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

impl Command {
    /// Checks values against each other; clap has checked each by itself.
    ///
    /// # Errors
    /// One line that names the variable, what it holds and what it takes.
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Order(args) => args.check(),
            Self::Demo(args) => args.check(),
            _ => Ok(()),
        }
    }
}

/// What every service takes.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Address to listen on
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = ip_address)]
    host: IpAddr,
    /// Port to listen on [default: 5001 order, 5002 inventory, 5003 payment]
    #[arg(long, env = "PORT", value_parser = port)]
    port: Option<u16>,
    /// PostgreSQL, as
    /// postgres://user:password@host:port/name?sslmode=disable|prefer|require|verify-full; of
    /// several hosts (host1:port,host2:port) the one that takes writes is used
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    database_url: DatabaseUrl,
    /// Connections to the database, at most
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 16, value_parser = pool_size)]
    database_pool_size: u32,
    /// Do not apply schema migrations at start
    #[arg(long)]
    no_migrate: bool,
    /// Origins whose pages may call this service, separated by commas
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin,
          default_value = "http://localhost:5001,http://127.0.0.1:5001")]
    cors_allowed_origins: Vec<String>,
    /// Host names, separated by commas, under which a service on a loopback address is served
    /// beside localhost and its addresses
    #[arg(long, env = "ALLOWED_HOSTS", value_delimiter = ',', value_parser = host_name)]
    allowed_hosts: Vec<String>,
    /// Token that the gremlin's routes then ask for [default: none asked]
    #[arg(long, env = "GREMLIN_TOKEN", hide_env_values = true, value_parser = token)]
    gremlin_token: Option<String>,
    /// false: there is no gremlin
    #[arg(long, env = "GREMLIN_ENABLED", default_value_t = true, action = clap::ArgAction::Set, value_parser = boolean)]
    gremlin_enabled: bool,
    /// Token that services show each other; inventory and payment then ask for it [default: none
    /// asked]
    #[arg(long, env = "SERVICE_TOKEN", hide_env_values = true, value_parser = token)]
    service_token: Option<String>,
    /// pretty or json [default: pretty on a terminal, else json]
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged, such as info or valerix=debug,info
    #[arg(long = "log", env = "RUST_LOG", default_value = USUAL_LOG, value_parser = log_filter)]
    log_filter: Targets,
    #[command(flatten)]
    otlp: OtlpArgs,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    supervised: bool,
    /// Die or stall at a named place: for tests
    #[arg(long, hide = true, env = "VALERIX_CRASH_POINT", value_parser = crash_plan)]
    crash_point: Option<failpoint::Plan>,
}

impl ServiceArgs {
    #[must_use]
    pub fn config(self, default_port: u16) -> service::Config {
        let (export, warnings) = self.otlp.export();
        service::Config {
            host: self.host,
            port: self.port.unwrap_or(default_port),
            database_url: self.database_url,
            database_pool_size: self.database_pool_size,
            migrate: !self.no_migrate,
            cors_allowed_origins: self.cors_allowed_origins,
            allowed_hosts: self.allowed_hosts,
            gremlin: crate::platform::fault_injection::Config {
                enabled: self.gremlin_enabled,
                token: self.gremlin_token,
            },
            service_token: self.service_token,
            telemetry: telemetry::Config {
                format: self.log_format.unwrap_or_else(LogFormat::detect),
                filter: self.log_filter,
                service_name: self.otlp.service_name,
                export,
                warnings,
            },
            supervised: self.supervised,
            failpoint: self.crash_point,
        }
    }
}

/// Inventory and payment with databases of their own.
#[derive(Debug, Clone, Args)]
pub struct OtherDatabases {
    /// Inventory's database, where it has its own: the audit reads it [default: the same]
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    inventory_database_url: Option<DatabaseUrl>,
    /// Payment's database, where it has its own: the audit reads it [default: the same]
    #[arg(long, env = "PAYMENT_DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    payment_database_url: Option<DatabaseUrl>,
}

impl OtherDatabases {
    #[must_use]
    pub fn elsewhere(&self) -> Elsewhere {
        Elsewhere {
            inventory: self.inventory_database_url.clone(),
            payment: self.payment_database_url.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub struct OrderArgs {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Where inventory is
    #[arg(long, env = "INVENTORY_SERVICE_URL", default_value = "http://127.0.0.1:5002", value_parser = base_url)]
    inventory_service_url: BaseUrl,
    /// Where payment is
    #[arg(long, env = "PAYMENT_SERVICE_URL", default_value = "http://127.0.0.1:5003", value_parser = base_url)]
    payment_service_url: BaseUrl,
    /// Time for one call to inventory or payment: connect, head and body together
    #[arg(long, env = "DOWNSTREAM_TIMEOUT_MS", default_value_t = 2000, value_parser = milliseconds)]
    downstream_timeout_ms: u64,
    #[command(flatten)]
    others: OtherDatabases,
    #[command(flatten)]
    bound: RecoveryBound,
    #[command(flatten)]
    dashboard: DashboardArgs,
    /// How long the idempotency key of a settled order is remembered; not below the recovery bound
    #[arg(long, env = "IDEMPOTENCY_KEY_TTL_SECONDS", default_value_t = 86_400, value_parser = seconds)]
    idempotency_key_ttl_seconds: u64,
}

/// What the dashboard links to.
#[derive(Debug, Args)]
struct DashboardArgs {
    /// Where a trace is shown, such as `http://localhost:16686/trace/{trace_id}` [default: traces are not linked]
    #[arg(long, env = "TRACE_URL", value_parser = trace_url)]
    trace_url: Option<String>,
    /// Where Grafana is [default: not linked]
    #[arg(long, env = "GRAFANA_URL", value_parser = page_url)]
    grafana_url: Option<String>,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct RecoveryBound {
    /// An order that is unfinished for longer is failed, and what it holds given back
    #[arg(long, env = "RECOVERY_BOUND_SECONDS", default_value_t = 3600, value_parser = seconds)]
    recovery_bound_seconds: u64,
}

impl RecoveryBound {
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.recovery_bound_seconds)
    }
}

impl OrderArgs {
    /// A key must outlive its order's recovery: forgotten sooner, a client's repetition would make
    /// a second order.
    fn check(&self) -> Result<(), String> {
        let (ttl, bound) = (
            self.idempotency_key_ttl_seconds,
            self.bound.recovery_bound_seconds,
        );
        if ttl >= bound {
            return Ok(());
        }
        Err(format!(
            "IDEMPOTENCY_KEY_TTL_SECONDS (--idempotency-key-ttl-seconds) is '{ttl}'; it takes at least \
             RECOVERY_BOUND_SECONDS, which is {bound}"
        ))
    }

    #[must_use]
    pub fn config(&self) -> order::Config {
        order::Config {
            inventory_url: self.inventory_service_url.clone(),
            payment_url: self.payment_service_url.clone(),
            step_timeout: Duration::from_millis(self.downstream_timeout_ms),
            service_token: self.service.service_token.clone(),
            database_url: self.service.database_url.clone(),
            elsewhere: self.others.elsewhere(),
            dashboard: order::Dashboard {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                trace_url: self.dashboard.trace_url.clone(),
                grafana_url: self.dashboard.grafana_url.clone(),
            },
            recovery: order::saga::recovery::Config {
                bound: self.bound.duration(),
                key_ttl: Duration::from_secs(self.idempotency_key_ttl_seconds),
            },
        }
    }
}

#[derive(Debug, Args)]
pub struct PaymentArgs {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Share of the charges that the mock gateway approves
    #[arg(long, env = "PAYMENT_SUCCESS_RATE", default_value_t = 0.9, value_parser = share)]
    payment_success_rate: f64,
    /// Decides, together with an order's id, what the mock gateway says [default: random]
    #[arg(long, env = "PAYMENT_SEED", value_parser = seed)]
    payment_seed: Option<u64>,
    /// How long the mock gateway takes
    #[arg(long, env = "PAYMENT_LATENCY_MS", default_value_t = 0, value_parser = delay)]
    payment_latency_ms: u64,
}

impl PaymentArgs {
    #[must_use]
    pub fn gateway(&self) -> payment::gateway::MockGateway {
        payment::gateway::MockGateway {
            success_rate: self.payment_success_rate,
            seed: self.payment_seed.unwrap_or_else(rand::random),
            latency: Duration::from_millis(self.payment_latency_ms),
        }
    }
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Address to listen on
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = ip_address)]
    host: IpAddr,
    #[arg(long, default_value_t = 5001, value_parser = port)]
    order_port: u16,
    #[arg(long, default_value_t = 5002, value_parser = port)]
    inventory_port: u16,
    #[arg(long, default_value_t = 5003, value_parser = port)]
    payment_port: u16,
    /// A database of your own instead of the private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    database_url: Option<DatabaseUrl>,
    /// Where the private database keeps its files [default: .valerix]
    #[arg(long, env = "VALERIX_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Forget all that the private database has stored
    #[arg(long, conflicts_with = "database_url")]
    reset: bool,
}

impl DemoArgs {
    /// Two services on one port: the second would fail to start, again and again.
    fn check(&self) -> Result<(), String> {
        let ports = [
            ("--order-port", self.order_port),
            ("--inventory-port", self.inventory_port),
            ("--payment-port", self.payment_port),
        ];
        for (number, (flag, port)) in ports.iter().enumerate() {
            if let Some((other, _)) = ports[..number].iter().find(|(_, taken)| taken == port) {
                return Err(format!(
                    "{flag} is '{port}', as {other} is; it takes a port of its own"
                ));
            }
        }
        Ok(())
    }
}

impl From<DemoArgs> for demo::Config {
    fn from(args: DemoArgs) -> Self {
        Self {
            host: args.host,
            ports: [args.order_port, args.inventory_port, args.payment_port],
            database_url: args.database_url,
            data_dir: args.data_dir,
            reset: args.reset,
        }
    }
}

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// PostgreSQL, as for the services
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    pub database_url: DatabaseUrl,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// PostgreSQL, as for the order service
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    pub database_url: DatabaseUrl,
    #[command(flatten)]
    pub others: OtherDatabases,
    #[command(flatten)]
    pub bound: RecoveryBound,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `prove --help` says below its flags.
const PROVE_HELP: &str = "\
The campaign places concurrent orders, injects faults meanwhile, ends them, and waits until every order is finished. \
Then it checks the invariants, and compares every response that a client got with what the database holds: \
an acknowledged order exists and is what its client was told; after a 503 with Retry-After there is no order; \
every order belongs to a request that was told of it or got no answer.

Each kind of fault comes once before any kind comes again: kills, crash points, stops (SIGSTOP), slow answers and \
ended database sessions of each service, each kind of gremlin rule, database restarts and kills, a locked product, \
locked orders, and commits that wait for a standby.

Exit codes:
  0  proved: every kind of fault and every recovery path ran, and nothing broke
  1  broken: an invariant or a promise broke, or an order stayed unfinished; \
also when the campaign could not run, which prints no report
  2  incomplete: nothing broke, but a kind of fault or a recovery path never ran; the report says what to raise \
(also for wrong arguments, which start nothing)";

#[derive(Debug, Args)]
#[command(after_long_help = PROVE_HELP)]
pub struct ProveArgs {
    /// Fixes every request and every fault [default: random, printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Orders to place
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    orders: u32,
    /// Times that a service is killed; other faults come in proportion. Below 6 some kinds of
    /// fault are missing
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    kills: u32,
    /// Times that the database is restarted or killed, in turn. Below 2 one of both is missing
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1000))]
    database_restarts: u32,
    /// Keep the campaign's database here; what is there is removed first [default: a temporary
    /// directory]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// SQL statements that run before the check: for tests of the check
    #[arg(long, hide = true)]
    tamper: Option<String>,
}

impl ProveArgs {
    #[must_use]
    pub fn config(&self) -> prove::Config {
        prove::Config {
            seed: self.seed.unwrap_or_else(rand::random),
            orders: self.orders,
            kills: self.kills,
            database_restarts: self.database_restarts,
            data_dir: self.data_dir.clone(),
            tamper: self.tamper.clone(),
            progress: output::shows_progress(),
        }
    }
}

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The service
    #[arg(long, value_parser = base_url)]
    url: Option<BaseUrl>,
    /// The address that it listens on, when no --url is given
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = ip_address)]
    host: IpAddr,
    /// Its port, when no --url is given
    #[arg(long, env = "PORT", default_value_t = 5001, value_parser = port)]
    port: u16,
}

impl HealthcheckArgs {
    /// # Errors
    /// Never in practice: a socket address makes a good URL.
    pub fn target(self) -> Result<BaseUrl, String> {
        // A service that listens on all addresses answers at the loopback one.
        let host = match self.host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        self.url.map_or_else(
            || format!("http://{}", SocketAddr::new(host, self.port)).parse(),
            Ok,
        )
    }
}
