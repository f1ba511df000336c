//! Connects to one host of a `DATABASE_URL`. Its name may have several IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use diesel_async::AsyncPgConnection;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;

use super::parts::{HostName, UrlHost, UrlParts};
use crate::platform::db::tls;

/// A host with the configuration for connecting to it.
pub struct Host {
    /// As in the URL.
    pub name: String,
    pub port: u16,
    pub kind: HostKind,
    pub config: Config,
}

pub enum HostKind {
    Unix,
    /// An IP address from the parameter `hostaddr`.
    IpAddress(IpAddr),
    /// A host name or an IP address. `last` is the last IP address that connected.
    Named {
        name: String,
        last: Mutex<Option<IpAddr>>,
    },
}

impl Host {
    pub fn new(host: &UrlHost, parts: &UrlParts, shared: &Config) -> Result<Self, String> {
        let mut config = shared.clone();
        config.port(host.port());
        let hostaddr = parts.parameter("hostaddr").map(|hostaddr| {
            hostaddr
                .parse::<IpAddr>()
                .map_err(|_| "hostaddr takes an IP address".to_owned())
        });
        let kind = match (&host.name, hostaddr.transpose()?) {
            (HostName::Unix(path), None) => {
                // As in libpq, a Unix socket has no TLS.
                config.host_path(path).ssl_mode(SslMode::Disable);
                HostKind::Unix
            }
            (HostName::Unix(_), Some(_)) => {
                return Err("hostaddr cannot be combined with a Unix socket".to_owned());
            }
            (HostName::Tcp(name), hostaddr) => {
                config.host(name);
                let named = || HostKind::Named {
                    name: name.clone(),
                    last: Mutex::default(),
                };
                hostaddr.map_or_else(named, HostKind::IpAddress)
            }
        };
        Ok(Self {
            name: host.to_string(),
            port: host.port(),
            kind,
            config,
        })
    }

    /// Opens a connection before the deadline. Each IP address of a name gets an equal share of the
    /// remaining time, so that an address that does not respond leaves time for the others.
    pub async fn connect(
        &self,
        tls: &tls::Trust,
        deadline: Instant,
    ) -> Result<AsyncPgConnection, ConnectFailure> {
        let (name, last) = match &self.kind {
            HostKind::Unix => return open(&self.config, tls, deadline).await,
            HostKind::IpAddress(ip) => {
                return open(self.config.clone().hostaddr(*ip), tls, deadline).await;
            }
            HostKind::Named { name, last } => (name, last),
        };
        let preferred = *last.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = addresses_of(name, self.port, preferred, deadline).await?;
        let mut failures = Vec::new();
        for (index, ip) in addresses.iter().enumerate() {
            let attempt_deadline = share_of(deadline, addresses.len() - index);
            match open(self.config.clone().hostaddr(*ip), tls, attempt_deadline).await {
                Ok(connection) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(*ip);
                    return Ok(connection);
                }
                Err(failure) => failures.push((*ip, failure)),
            }
        }
        failures.sort_unstable();
        Err(join_failures(&failures))
    }
}

/// Resolves a name. Returns each IP address once, and `preferred` first if it is among them.
pub async fn addresses_of(
    name: &str,
    port: u16,
    preferred: Option<IpAddr>,
    deadline: Instant,
) -> Result<Vec<IpAddr>, String> {
    let found = timeout_at(deadline, tokio::net::lookup_host((name, port))).await;
    let found = found.map_err(|_| "resolving the name took too long".to_owned())?;
    let mut addresses = Vec::new();
    for address in found.map_err(|error| error.to_string())? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if let Some(position) = addresses.iter().position(|ip| Some(*ip) == preferred) {
        addresses[..=position].rotate_right(1);
    }
    if addresses.is_empty() {
        Err("the name has no IP address".to_owned())
    } else {
        Ok(addresses)
    }
}

/// Returns the deadline of the next attempt, if `remaining` attempts share the time until
/// `deadline`.
pub fn share_of(deadline: Instant, remaining: usize) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now)
        / u32::try_from(remaining).unwrap_or(u32::MAX).max(1)
}

/// Joins failures to one. It has one message for each; the caller sorts them, so that the same
/// failures give the same message.
pub fn join_failures<T: fmt::Display>(failures: &[(T, ConnectFailure)]) -> ConnectFailure {
    if let [(_, failure)] = failures {
        return failure.clone();
    }
    let each = failures
        .iter()
        .map(|(host, failure)| format!("{host}: {}", failure.reason));
    ConnectFailure {
        reason: each.collect::<Vec<_>>().join("; "),
        is_forbidden: failures.iter().all(|(_, failure)| failure.is_forbidden),
    }
}

async fn open(
    config: &Config,
    tls: &tls::Trust,
    deadline: Instant,
) -> Result<AsyncPgConnection, ConnectFailure> {
    let tls = tls.connector()?;
    let opened = async {
        let (client, connection) = config.connect(tls).await?;
        let connection =
            AsyncPgConnection::try_from_client_and_connection(client, connection).await;
        connection.map_err(|error| error.to_string().into())
    };
    timeout_at(deadline, opened)
        .await
        .map_err(|_| "no response in time".to_owned())?
}

/// Why no connection was opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectFailure {
    pub reason: String,
    /// The server responded that the user may not connect to this database.
    pub is_forbidden: bool,
}

impl From<String> for ConnectFailure {
    fn from(reason: String) -> Self {
        Self {
            reason,
            is_forbidden: false,
        }
    }
}

impl From<tokio_postgres::Error> for ConnectFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        use std::error::Error;
        let cause = error.source().map(|source| {
            tls::explain(source).map_or_else(|| source.to_string(), ToOwned::to_owned)
        });
        let reason = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        Self {
            reason,
            is_forbidden: error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE),
        }
    }
}
