//! The configuration of the demo.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::platform::db::DatabaseUrl;
use crate::testbed::addresses::Addresses;

#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    /// In the order of `ServiceKind::ALL`.
    pub ports: [u16; 3],
    /// `None`: a private database.
    pub database_url: Option<DatabaseUrl>,
    /// Where the private database is kept. `None`: in `.valerix`.
    pub data_dir: Option<PathBuf>,
    /// Whether the log shows each request.
    pub verbose: bool,
    /// Whether to delete the private database's data first.
    pub reset: bool,
    /// The time between the end of a service and its restart.
    pub restart_pause: Duration,
}

impl Config {
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        Addresses::new(self.host, self.ports)
    }
}
