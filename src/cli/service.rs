//! Arguments that all services share.

use std::net::{IpAddr, Ipv4Addr};

use clap::{ArgAction, Args};
use tracing_subscriber::filter::Targets;

use super::default_urls::dashboard_origins;
use super::otlp::OtlpArgs;
use super::parsers::{
    boolean, database_url, failpoint_plan, host_name, ip_address, log_filter, origin, pool_size,
    port, token,
};
use crate::platform::db::DatabaseUrl;
use crate::platform::fault_injection::{self, failpoint};
use crate::platform::observability::telemetry::{self, DEFAULT_LOG_FILTER, LogFormat};
use crate::platform::service;
use crate::testbed::service_kind::ServiceKind;

/// Connections to the database of one process.
pub const DEFAULT_DATABASE_POOL_SIZE: u32 = 16;

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of each service")]
pub struct ServiceArgs {
    /// IP address to listen on
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST),
          value_parser = ip_address)]
    host: IpAddr,
    /// Port to listen on [default: 5001 order, 5002 inventory, 5003 payment]
    #[arg(long, env = "PORT", value_parser = port)]
    port: Option<u16>,
    /// PostgreSQL database, as postgres://user:password@host:port/name?sslmode=MODE, where MODE is
    /// disable, prefer, require, verify-ca or verify-full. Of several hosts
    /// (host1:port,host2:port), the service uses the one that accepts writes
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    pub database_url: DatabaseUrl,
    /// Maximum number of connections to the database
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = DEFAULT_DATABASE_POOL_SIZE,
          value_parser = pool_size)]
    database_pool_size: u32,
    /// Do not apply schema migrations at start
    #[arg(long)]
    no_migrate: bool,
    /// Origins whose pages may call this service, separated by commas
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin,
          default_values_t = dashboard_origins())]
    cors_allowed_origins: Vec<String>,
    /// Host names to accept on a loopback address besides localhost and the loopback addresses
    /// themselves, separated by commas
    #[arg(long, env = "ALLOWED_HOSTS", value_delimiter = ',', value_parser = host_name)]
    allowed_hosts: Vec<String>,
    /// Bearer token that the gremlin's routes require [default: none is required]
    #[arg(long, env = "GREMLIN_TOKEN", hide_env_values = true, value_parser = token)]
    gremlin_token: Option<String>,
    /// Whether the gremlin can inject faults; with false its routes answer 404
    #[arg(long, env = "GREMLIN_ENABLED", default_value_t = true, action = ArgAction::Set,
          value_parser = boolean)]
    gremlin_enabled: bool,
    /// Bearer token that order sends, and that inventory and payment require [default: none]
    #[arg(long, env = "SERVICE_TOKEN", hide_env_values = true, value_parser = token)]
    pub service_token: Option<String>,
    /// Format of log lines: pretty or json [default: pretty on a terminal, otherwise json]
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Log levels by module, such as info or valerix=debug,info
    #[arg(long = "log", env = "RUST_LOG", default_value = DEFAULT_LOG_FILTER,
          value_parser = log_filter)]
    log_filter: Targets,
    #[command(flatten)]
    otlp: OtlpArgs,
    #[command(flatten)]
    supervisor: SupervisorArgs,
    /// Abort or stall at a failpoint, for tests
    #[arg(long, hide = true, env = "VALERIX_FAILPOINT", value_parser = failpoint_plan)]
    failpoint: Option<failpoint::Plan>,
}

/// The flags that a supervisor passes to a service that it starts.
#[derive(Debug, Args)]
struct SupervisorArgs {
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    supervised: bool,
    /// Use colours in the pretty format although standard output is not a terminal
    #[arg(long, hide = true)]
    coloured_log: bool,
}

impl ServiceArgs {
    pub fn config(self, kind: ServiceKind) -> service::Config {
        let (export, warnings) = self.otlp.export();
        service::Config {
            host: self.host,
            port: self.port.unwrap_or_else(|| kind.default_port()),
            database_url: self.database_url,
            database_pool_size: self.database_pool_size,
            migrate: !self.no_migrate,
            cors_allowed_origins: self.cors_allowed_origins,
            allowed_hosts: self.allowed_hosts,
            gremlin: fault_injection::Config {
                enabled: self.gremlin_enabled,
                token: self.gremlin_token,
            },
            service_token: self.service_token,
            operator_token: None,
            telemetry: telemetry::Config {
                format: self.log_format.unwrap_or_else(LogFormat::detect),
                is_coloured: self.supervisor.coloured_log,
                filter: self.log_filter,
                service_name: self.otlp.service_name,
                export,
                warnings,
            },
            supervised: self.supervisor.supervised,
            failpoint: self.failpoint,
        }
    }
}
