//! Translates the parts of a database URL into the configuration of tokio-postgres.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::parts::{HostName, Parameter, UrlHost, UrlParts, parse_port};

/// How long one host may take to accept a session. A host that hangs accepts the TCP connection and
/// then sends nothing.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_CONNECT_TIMEOUT_SECONDS: u64 = 60;
/// With these three values, an idle connection notices after about 10 s that its host is gone. On a
/// connection in use, [`WORK_TIMEOUT`](crate::platform::db::WORK_TIMEOUT) ends the wait.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
/// The kernel ends a connection whose sent data is not acknowledged for this long.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Parameters whose values tokio-postgres parses and validates.
const TOKIO_POSTGRES_PARAMETERS: [&str; 9] = [
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

/// Returns the hosts before the name of the database, or the host that parameters name.
pub fn connection_hosts(parts: &UrlParts) -> Result<Vec<UrlHost>, String> {
    const NO_HOST: &str = "it names no host, or has nothing between two commas";
    let (host, port) = (parts.parameter("host"), parts.parameter("port"));
    let hostaddr = parts.parameter("hostaddr");
    let is_list = |value: Option<&str>| value.is_some_and(|value| value.contains(','));
    let has_hosts = !parts.hosts.is_empty();
    if is_list(host)
        || is_list(hostaddr)
        || (has_hosts && host.is_some())
        || (parts.hosts.len() > 1 && hostaddr.is_some())
    {
        return Err("write several hosts as host1:5432,host2:5432, not as parameters".to_owned());
    }
    if has_hosts && port.is_some() {
        return Err("write the port after the host, as in host:5432".to_owned());
    }
    let hosts = if has_hosts {
        parts.hosts.clone()
    } else {
        let port = port
            .map(|port| parse_port(port).ok_or("port takes a number from 1 to 65535"))
            .transpose()?;
        vec![UrlHost {
            name: host.or(hostaddr).ok_or(NO_HOST)?.into(),
            port,
        }]
    };
    let is_empty = |host: &UrlHost| matches!(&host.name, HostName::Tcp(name) if name.is_empty());
    if hosts.iter().any(is_empty) {
        Err(NO_HOST.to_owned())
    } else {
        Ok(hosts)
    }
}

pub fn connect_timeout(parts: &UrlParts) -> Result<Duration, String> {
    let Some(value) = parts.parameter("connect_timeout") else {
        return Ok(DEFAULT_CONNECT_TIMEOUT);
    };
    let seconds = value
        .parse()
        .ok()
        .filter(|seconds| (1..=MAX_CONNECT_TIMEOUT_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        format!("connect_timeout takes whole seconds from 1 to {MAX_CONNECT_TIMEOUT_SECONDS}")
    })
}

/// Returns what the server must allow in a session. `primary` means `read-write`, because that is
/// what a service needs.
fn session_attributes(parts: &UrlParts) -> Result<TargetSessionAttrs, String> {
    match parts.parameter("target_session_attrs") {
        None | Some("read-write" | "primary") => Ok(TargetSessionAttrs::ReadWrite),
        Some("read-only") => Ok(TargetSessionAttrs::ReadOnly),
        Some("any") => Ok(TargetSessionAttrs::Any),
        Some(_) => {
            Err("target_session_attrs takes read-write, primary, read-only or any".to_owned())
        }
    }
}

/// Returns the configuration that all hosts share.
pub fn shared_config(parts: &UrlParts, ssl_mode: SslMode) -> Result<Config, String> {
    let mut config = tokio_postgres_config(parts)?;
    config.tcp_user_timeout(
        config
            .get_tcp_user_timeout()
            .copied()
            .unwrap_or(TCP_USER_TIMEOUT),
    );
    if parts.parameter("keepalives_idle").is_none() {
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
        .target_session_attrs(session_attributes(parts)?);
    if config.get_application_name().is_none() {
        config.application_name("valerix");
    }
    if let Some(user) = parts.parameter("user").or(parts.user.as_deref()) {
        config.user(user);
    }
    if let Some(database) = parts.parameter("dbname").or(parts.database.as_deref()) {
        config.dbname(database);
    }
    let password = parts
        .parameters
        .iter()
        .rev()
        .find_map(|parameter| match parameter {
            Parameter::Password(password) => Some(password),
            _ => None,
        });
    if let Some(password) = password.or(parts.password.as_ref()) {
        config.password(password);
    }
    Ok(config)
}

/// Parses the parameters that tokio-postgres knows. They are passed in its `key=value` form, which
/// can quote any value.
fn tokio_postgres_config(parts: &UrlParts) -> Result<Config, String> {
    let pairs = TOKIO_POSTGRES_PARAMETERS
        .iter()
        .filter_map(|name| Some((name, parts.parameter(name)?)));
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
