//! Connects to one host of a `DATABASE_URL`, which may be a name with several IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use diesel_async::AsyncPgConnection;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;

use super::address::{Address, Host as NamedHost, HostName};
use super::tls;

/// A host of an address, ready to connect to.
pub struct Host {
    /// As written in the address.
    pub name: String,
    pub port: u16,
    pub kind: HostKind,
    pub config: Config,
}

pub enum HostKind {
    Unix,
    /// An IP address from the parameter `hostaddr`.
    Address(IpAddr),
    /// A name or an IP address. `last` is the IP address that worked last.
    Named {
        name: String,
        last: Mutex<Option<IpAddr>>,
    },
}

impl Host {
    pub fn new(host: &NamedHost, address: &Address, shared: &Config) -> Result<Self, String> {
        let mut config = shared.clone();
        config.port(host.port());
        let given = address.parameter("hostaddr").map(|given| {
            given
                .parse::<IpAddr>()
                .map_err(|_| "hostaddr takes an IP address".to_owned())
        });
        let kind = match (&host.name, given.transpose()?) {
            (HostName::Unix(path), None) => {
                // As in libpq, a Unix socket has no TLS.
                config.host_path(path).ssl_mode(SslMode::Disable);
                HostKind::Unix
            }
            (HostName::Unix(_), Some(_)) => {
                return Err("hostaddr cannot be combined with a Unix socket".to_owned());
            }
            (HostName::Tcp(name), given) => {
                config.host(name);
                let named = || HostKind::Named {
                    name: name.clone(),
                    last: Mutex::default(),
                };
                given.map_or_else(named, HostKind::Address)
            }
        };
        Ok(Self {
            name: host.to_string(),
            port: host.port(),
            kind,
            config,
        })
    }

    /// Opens a connection before the deadline. The IP addresses of a name get equal shares of the
    /// remaining time, so that one that does not respond leaves enough for the others.
    pub async fn connect(
        &self,
        tls: &tls::Trust,
        deadline: Instant,
    ) -> Result<AsyncPgConnection, ConnectFailure> {
        let (name, last) = match &self.kind {
            HostKind::Unix => return open(&self.config, tls, deadline).await,
            HostKind::Address(ip) => {
                return open(self.config.clone().hostaddr(*ip), tls, deadline).await;
            }
            HostKind::Named { name, last } => (name, last),
        };
        let begin = *last.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = addresses_of(name, self.port, begin, deadline).await?;
        let mut failures = Vec::new();
        for (index, ip) in addresses.iter().enumerate() {
            let until = share(deadline, addresses.len() - index);
            match open(self.config.clone().hostaddr(*ip), tls, until).await {
                Ok(connection) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(*ip);
                    return Ok(connection);
                }
                Err(failure) => failures.push((*ip, failure)),
            }
        }
        failures.sort_unstable();
        Err(joined(&failures))
    }
}

/// Returns each address once, beginning with the one that worked last.
pub async fn addresses_of(
    name: &str,
    port: u16,
    begin: Option<IpAddr>,
    deadline: Instant,
) -> Result<Vec<IpAddr>, String> {
    let found = timeout_at(deadline, tokio::net::lookup_host((name, port))).await;
    let found = found.map_err(|_| "its name was not resolved in time".to_owned())?;
    let mut addresses = Vec::new();
    for address in found.map_err(|error| error.to_string())? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if let Some(position) = addresses.iter().position(|ip| Some(*ip) == begin) {
        addresses[..=position].rotate_right(1);
    }
    if addresses.is_empty() {
        Err("its name has no address".to_owned())
    } else {
        Ok(addresses)
    }
}

/// Returns the time by which the first of `count` attempts must end.
pub fn share(deadline: Instant, remaining: usize) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now)
        / u32::try_from(remaining).unwrap_or(u32::MAX).max(1)
}

/// Joins failures in a fixed order, so that the same cause gives the same message.
pub fn joined<T: fmt::Display>(failures: &[(T, ConnectFailure)]) -> ConnectFailure {
    if let [(_, failure)] = failures {
        return failure.clone();
    }
    let each = failures
        .iter()
        .map(|(which, failure)| format!("{which}: {}", failure.reason));
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
    /// The server is reachable, and the user may not connect to this database.
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
