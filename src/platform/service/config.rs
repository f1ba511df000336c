//! The configuration that all services have, and why a service cannot start.

use std::net::{IpAddr, SocketAddr};

use crate::platform::db::{DatabaseUrl, SchemaError};
use crate::platform::fault_injection::{self, failpoint};
use crate::platform::observability::telemetry;

/// The configuration that all services have.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    pub port: u16,
    pub database_url: DatabaseUrl,
    /// How many database connections the pools of the process divide among themselves. Each pool
    /// has at least one.
    pub database_pool_size: u32,
    /// Whether this process migrates the schema.
    pub migrate: bool,
    pub cors_allowed_origins: Vec<String>,
    /// Names that a service on a loopback address accepts in `Host`, besides those of this
    /// machine.
    pub allowed_hosts: Vec<String>,
    pub gremlin: fault_injection::Config,
    /// The token that the services share. Internal services require it if it is set.
    pub service_token: Option<String>,
    /// The token that the routes for operators require, if any.
    pub operator_token: Option<String>,
    pub telemetry: telemetry::Config,
    /// Stop when standard input ends. The supervisor holds it open.
    pub supervised: bool,
    /// The failpoint at which the process aborts or stalls, for tests.
    pub failpoint: Option<failpoint::Plan>,
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
