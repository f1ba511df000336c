//! `DATABASE_URL`: reads the hosts that it names, and connects to one that takes writes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::result::ConnectionError;
use diesel_async::AsyncPgConnection;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use crate::platform::db::address::{Address, Host as NamedHost, HostName, Parameter, port_of};
use crate::platform::db::host::{ConnectFailure, Host, joined};
use crate::platform::db::tls;

/// Time for one host to show that it takes writes. A host that hangs accepts the connection and sends
/// nothing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_CONNECT_TIMEOUT_SECONDS: u64 = 60;
/// On an idle connection, a host that disappeared is noticed after about 10 s. On a connection in use,
/// [`WORK_TIMEOUT`](super::WORK_TIMEOUT) ends the wait.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Parameters that are passed on to tokio-postgres.
const PASSED_ON: [&str; 9] = [
    "application_name",
    "channel_binding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "options",
    "sslnegotiation",
    "tcp_user_timeout",
];

const UNKNOWN_AFTER_PASSWORD: &str =
    "it has a parameter that is not known; in a password, & is written %26";

/// A checked `DATABASE_URL`. Its text forms never show the password.
#[derive(Clone)]
pub struct DatabaseUrl(Arc<Target>);

struct Target {
    hosts: Vec<Host>,
    /// The host that is tried first: the one that worked last, which is the primary until it fails.
    first: AtomicUsize,
    connect_timeout: Duration,
    tls: tls::Trust,
    address: Address,
    text: String,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = Address::parse(text).map_err(|error| error.to_string())?;
        for parameter in &address.parameters {
            match parameter {
                Parameter::Unknown { name: Some(name) } => {
                    return Err(format!("unknown parameter {name}"));
                }
                Parameter::Unknown { name: None } => return Err(UNKNOWN_AFTER_PASSWORD.to_owned()),
                Parameter::Known { .. } | Parameter::Password(_) => {}
            }
        }
        let (ssl_mode, tls) = tls::Trust::from_parameters(
            address.parameter("sslmode"),
            address.parameter("sslrootcert"),
        )?;
        let shared = shared_config(&address, ssl_mode)?;
        let hosts = hosts_of(&address)?
            .into_iter()
            .map(|host| Host::new(&host, &address, &shared));
        Ok(Self(Arc::new(Target {
            hosts: hosts.collect::<Result<_, _>>()?,
            first: AtomicUsize::default(),
            connect_timeout: connect_timeout(&address)?,
            tls,
            text: text.to_owned(),
            address,
        })))
    }
}

/// Returns the hosts before the name of the database, or the one that parameters name.
fn hosts_of(address: &Address) -> Result<Vec<NamedHost>, String> {
    let unnamed = "it names no host, or has nothing between two commas";
    let (host, port) = (address.parameter("host"), address.parameter("port"));
    let hostaddr = address.parameter("hostaddr");
    let several = |value: Option<&str>| value.is_some_and(|value| value.contains(','));
    let named = !address.hosts.is_empty();
    if several(host)
        || several(hostaddr)
        || (named && host.is_some())
        || (address.hosts.len() > 1 && hostaddr.is_some())
    {
        return Err(
            "several hosts are written as host1:5432,host2:5432, not as parameters".to_owned(),
        );
    }
    if named && port.is_some() {
        return Err("the port is written behind the host, as in host:5432".to_owned());
    }
    let hosts = if named {
        address.hosts.clone()
    } else {
        let port = port
            .map(|port| port_of(port).ok_or("port takes a number from 1 to 65535"))
            .transpose()?;
        vec![NamedHost {
            name: host.or(hostaddr).ok_or(unnamed)?.into(),
            port,
        }]
    };
    let is_empty = |host: &NamedHost| matches!(&host.name, HostName::Tcp(name) if name.is_empty());
    if hosts.iter().any(is_empty) {
        Err(unnamed.to_owned())
    } else {
        Ok(hosts)
    }
}

fn connect_timeout(address: &Address) -> Result<Duration, String> {
    let Some(written) = address.parameter("connect_timeout") else {
        return Ok(DEFAULT_CONNECT_TIMEOUT);
    };
    let seconds = written
        .parse()
        .ok()
        .filter(|seconds| (1..=MAX_CONNECT_TIMEOUT_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        format!("connect_timeout takes whole seconds from 1 to {MAX_CONNECT_TIMEOUT_SECONDS}")
    })
}

/// Returns what a session must allow. `primary` means `read-write`, because a service needs to write.
fn session_attributes(address: &Address) -> Result<TargetSessionAttrs, String> {
    match address.parameter("target_session_attrs") {
        None | Some("read-write" | "primary") => Ok(TargetSessionAttrs::ReadWrite),
        Some("read-only") => Ok(TargetSessionAttrs::ReadOnly),
        Some("any") => Ok(TargetSessionAttrs::Any),
        Some(_) => {
            Err("target_session_attrs takes read-write, primary, read-only or any".to_owned())
        }
    }
}

/// Returns the configuration that all hosts share.
fn shared_config(address: &Address, ssl_mode: SslMode) -> Result<Config, String> {
    let mut config = passed_on(address)?;
    config.tcp_user_timeout(
        config
            .get_tcp_user_timeout()
            .copied()
            .unwrap_or(TCP_USER_TIMEOUT),
    );
    if address.parameter("keepalives_idle").is_none() {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    config.keepalives_interval(
        config
            .get_keepalives_interval()
            .unwrap_or(KEEPALIVE_INTERVAL),
    );
    config.keepalives_retries(config.get_keepalives_retries().unwrap_or(KEEPALIVE_RETRIES));
    config
        .ssl_mode(ssl_mode)
        .target_session_attrs(session_attributes(address)?);
    if config.get_application_name().is_none() {
        config.application_name("valerix");
    }
    if let Some(user) = address.parameter("user").or(address.user.as_deref()) {
        config.user(user);
    }
    if let Some(database) = address.parameter("dbname").or(address.database.as_deref()) {
        config.dbname(database);
    }
    let password = address
        .parameters
        .iter()
        .rev()
        .find_map(|parameter| match parameter {
            Parameter::Password(password) => Some(password),
            _ => None,
        });
    if let Some(password) = password.or(address.password.as_ref()) {
        config.password(password);
    }
    Ok(config)
}

/// Writes the parameters in the form of tokio-postgres that quotes each value.
fn passed_on(address: &Address) -> Result<Config, String> {
    let pairs = PASSED_ON
        .iter()
        .filter_map(|name| Some((name, address.parameter(name)?)));
    let text = pairs.map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        format!("{name}='{value}'")
    });
    let text = text.collect::<Vec<_>>().join(" ");
    Config::from_str(&text).map_err(|error| {
        use std::error::Error;
        error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string)
    })
}

impl DatabaseUrl {
    /// Returns the address with its password, for the environment of a child process.
    #[must_use]
    pub fn with_password(&self) -> &str {
        &self.0.text
    }

    /// Returns the address with its password and an application name of its own.
    #[must_use]
    pub fn with_password_for(&self, application_name: &str) -> String {
        let text = &self.0.text;
        let separator = if text.contains('?') { '&' } else { '?' };
        let name = utf8_percent_encode(application_name, NON_ALPHANUMERIC);
        format!("{text}{separator}application_name={name}")
    }

    /// Opens one connection to a host that takes writes, unless `target_session_attrs` says otherwise.
    ///
    /// # Errors
    /// When no host can be reached or all reject the session, with the reason of each.
    pub async fn connect(&self) -> Result<AsyncPgConnection, ConnectionError> {
        self.try_connect()
            .await
            .map_err(|failure| ConnectionError::BadConnection(failure.reason))
    }

    /// Connects as [`DatabaseUrl::connect`] does.
    ///
    /// # Errors
    /// The same, classified.
    pub async fn try_connect(&self) -> Result<AsyncPgConnection, ConnectFailure> {
        let Target {
            hosts,
            first,
            tls,
            connect_timeout,
            ..
        } = &*self.0;
        let begin = first.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (0..hosts.len()).map(|offset| (begin + offset) % hosts.len()) {
            // On the heap, because it would make the future of each caller large.
            match Box::pin(hosts[index].connect(tls, Instant::now() + *connect_timeout)).await {
                Ok(connection) => {
                    first.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(failure) => failures.push((index, failure)),
            }
        }
        failures.sort_unstable();
        let named = failures
            .into_iter()
            .map(|(index, failure)| (&hosts[index].name, failure));
        Err(joined(&named.collect::<Vec<_>>()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.address.fmt(f)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
