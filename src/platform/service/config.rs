//! The configuration that all services share, and why a service cannot start.

use std::net::{IpAddr, SocketAddr};

use crate::platform::db::{DatabaseUrl, SchemaError};
use crate::platform::fault_injection::{self, failpoint};
use crate::platform::observability::telemetry;

/// The configuration that all services share.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    pub port: u16,
    pub database_url: DatabaseUrl,
    pub database_pool_size: u32,
    pub migrate: bool,
    pub cors_allowed_origins: Vec<String>,
    /// Host names under which a service on a loopback address is also served.
    pub allowed_hosts: Vec<String>,
    pub gremlin: fault_injection::Config,
    /// The token that the order service sends, and that the other services then require.
    pub service_token: Option<String>,
    /// The token that the routes for operators require, if any.
    pub operator_token: Option<String>,
    pub telemetry: telemetry::Config,
    /// Stop when standard input ends, which the supervisor holds open.
    pub supervised: bool,
    /// Where a test makes the process abort or stall.
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
