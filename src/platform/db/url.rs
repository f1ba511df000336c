//! `DATABASE_URL`: reads the hosts that it names, and connects to one that takes writes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::result::ConnectionError;
use diesel_async::AsyncPgConnection;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;

use super::address::{Address, Host as NamedHost, HostName, Parameter, port_of};
use super::tls;

/// Time for one host to show that it takes writes. A host that hangs accepts the connection and sends
/// nothing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_CONNECT_TIMEOUT_SECONDS: u64 = 60;
/// On an idle connection, a host that disappeared is noticed after about 10 s. On a connection in use,
/// [`super::WORK_TIMEOUT`] ends the wait.
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

struct Host {
    /// As written in the address.
    name: String,
    port: u16,
    kind: HostKind,
    config: Config,
}

enum HostKind {
    Unix,
    /// An IP address from the parameter `hostaddr`.
    Address(IpAddr),
    /// A name or an IP address. `last` is the IP address that worked last.
    Named {
        name: String,
        last: Mutex<Option<IpAddr>>,
    },
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

impl Host {
    fn new(host: &NamedHost, address: &Address, shared: &Config) -> Result<Self, String> {
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
    async fn connect(
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
async fn addresses_of(
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
fn share(deadline: Instant, remaining: usize) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now)
        / u32::try_from(remaining).unwrap_or(u32::MAX).max(1)
}

/// Joins failures in a fixed order, so that the same cause gives the same message.
fn joined<T: fmt::Display>(failures: &[(T, ConnectFailure)]) -> ConnectFailure {
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
mod tests {
    use tokio::net::TcpListener;
    use tokio_postgres::config;

    use super::*;

    #[test]
    fn every_ssl_mode_is_accepted_and_an_unknown_one_is_named() {
        for query in [
            "sslmode=disable",
            "sslmode=prefer",
            "sslmode=require",
            "sslmode=verify-ca&sslrootcert=/a.pem",
            "sslmode=verify-full",
            "sslmode=verify-full&sslrootcert=system",
            "sslrootcert=system",
        ] {
            let url = DatabaseUrl::from_str(&format!("postgres://u:p@h:5432/db?{query}"));
            assert!(url.is_ok(), "{query}: {url:?}");
        }
        let error = DatabaseUrl::from_str("postgres://h/db?sslmode=maybe").unwrap_err();
        assert!(error.contains("sslmode"), "{error}");
    }

    fn hosts(url: &str) -> Vec<(String, u16)> {
        let url = DatabaseUrl::from_str(url).unwrap();
        let of = |host: &Host| {
            let address = match &host.config.get_hosts()[0] {
                config::Host::Tcp(name) => name.clone(),
                config::Host::Unix(path) => path.display().to_string(),
            };
            (address, host.config.get_ports()[0])
        };
        url.0.hosts.iter().map(of).collect()
    }

    #[test]
    fn several_hosts_share_their_parameters() {
        let one_two = [("one".to_owned(), 5432), ("two".to_owned(), 6432)];
        for url in [
            "postgres://u:p@one,two:6432/db",
            "postgres://u:p@one:5432,two:6432/db?sslmode=verify-full&sslrootcert=/a,b",
            "postgres://one,two:6432?target_session_attrs=any",
        ] {
            assert_eq!(hosts(url), one_two, "{url}");
        }
        assert_eq!(hosts("postgres://[::1]:7,h/db")[0], ("::1".to_owned(), 7));
        for (url, socket) in [
            ("postgres://%2Frun%2Fa/db", "/run/a"),
            (
                "postgres://%2Frun%2Fjob%402%2Ca%3Ab%3Fc/db",
                "/run/job@2,a:b?c",
            ),
            ("postgres:///db?host=/run/a", "/run/a"),
        ] {
            assert_eq!(hosts(url), [(socket.to_owned(), 5432)], "{url}");
        }
        let url = DatabaseUrl::from_str("postgres://u:p%40@one,two/db").unwrap();
        for host in &url.0.hosts {
            assert_eq!(host.config.get_password(), Some(&b"p@"[..]));
            assert_eq!(host.config.get_dbname(), Some("db"));
        }
    }

    #[test]
    fn parameters_can_replace_every_part_and_hold_any_character() {
        let text = "postgres://h?user=u&pass%77ord=p@ss%26SECRET&dbname=d&application_name=me@work's&options=-c%20a=b";
        let url = DatabaseUrl::from_str(text).unwrap();
        let config = &url.0.hosts[0].config;
        assert_eq!(config.get_user(), Some("u"));
        assert_eq!(config.get_password(), Some(&b"p@ss&SECRET"[..]));
        assert_eq!(config.get_dbname(), Some("d"));
        assert_eq!(config.get_application_name(), Some("me@work's"));
        assert_eq!(config.get_options(), Some("-c a=b"));
        assert!(!format!("{url} {url:?}").contains("SECRET"), "{url}");
        for text in ["postgres://h/db", "postgres://h/db?sslmode=disable"] {
            let named = DatabaseUrl::from_str(text)
                .unwrap()
                .with_password_for("a&b");
            let named = DatabaseUrl::from_str(&named).unwrap();
            assert_eq!(named.0.hosts[0].config.get_application_name(), Some("a&b"));
        }
    }

    #[test]
    fn a_session_takes_writes_unless_the_address_says_otherwise() {
        for (query, attributes) in [
            ("", TargetSessionAttrs::ReadWrite),
            ("?sslmode=disable", TargetSessionAttrs::ReadWrite),
            (
                "?target_session_attrs=read-write",
                TargetSessionAttrs::ReadWrite,
            ),
            (
                "?target_session_attrs=primary",
                TargetSessionAttrs::ReadWrite,
            ),
            ("?target_session_attrs=any", TargetSessionAttrs::Any),
            (
                "?target_session_attrs=read-only",
                TargetSessionAttrs::ReadOnly,
            ),
        ] {
            let url = DatabaseUrl::from_str(&format!("postgres://h,i/db{query}")).unwrap();
            for host in &url.0.hosts {
                assert_eq!(
                    host.config.get_target_session_attrs(),
                    attributes,
                    "{query}"
                );
            }
        }
    }

    #[test]
    fn an_invalid_url_is_rejected_with_a_reason() {
        for (url, reason) in [
            ("", "postgres://"),
            ("mysql://h/db", "postgres://"),
            ("postgres://h:port/db", "port"),
            ("postgres://h:0/db", "port"),
            ("postgres://::1/db", "brackets"),
            ("postgres:///db", "no host"),
            ("postgres://one,,two/db", "no host"),
            ("postgres://one,two:port/db", "port"),
            ("postgres:///db?host=one,two", "host1:5432,host2:5432"),
            ("postgres://one/db?host=two", "host1:5432,host2:5432"),
            ("postgres://one/db?port=7", "host:5432"),
            ("postgres://u:p@ss@h/db", "%40"),
            ("postgres://h/db?nonsense=1", "nonsense"),
            ("postgres://h/db?PASSWORD=1", "PASSWORD"),
            ("postgres://h/db?password=a&b=c", "%26"),
            (
                "postgres://h/db?target_session_attrs=standby",
                "target_session_attrs takes read-write, primary",
            ),
            (
                "postgres://h/db?connect_timeout=0",
                "connect_timeout takes whole seconds",
            ),
            ("postgres://h/db?keepalives=x", "keepalives"),
            ("postgres://h/db?sslmode=verify-ca", "sslrootcert"),
            (
                "postgres://h/db?sslmode=verify-ca&sslrootcert=system",
                "verify-full",
            ),
            (
                "postgres://h/db?sslmode=require&sslrootcert=/a.pem",
                "verify-ca",
            ),
        ] {
            let error = DatabaseUrl::from_str(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn the_address_sets_the_time_to_connect() {
        let timeout = |url: &str| DatabaseUrl::from_str(url).unwrap().0.connect_timeout;
        assert_eq!(timeout("postgres://h/db"), DEFAULT_CONNECT_TIMEOUT);
        assert_eq!(
            timeout("postgres://h/db?connect_timeout=7"),
            Duration::from_secs(7)
        );
    }

    #[tokio::test]
    async fn the_address_that_worked_last_is_tried_first() {
        let deadline = Instant::now() + Duration::from_secs(10);
        let all = addresses_of("localhost", 1, None, deadline).await.unwrap();
        let last = *all.last().unwrap();
        assert_eq!(
            addresses_of("localhost", 1, Some(last), deadline)
                .await
                .unwrap()[0],
            last
        );
        let gone = "192.0.2.1".parse().unwrap();
        assert_eq!(
            addresses_of("localhost", 1, Some(gone), deadline)
                .await
                .unwrap(),
            all
        );
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_share_the_remaining_time() {
        let deadline = Instant::now() + Duration::from_secs(2);
        assert_eq!(share(deadline, 2) - Instant::now(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(
            share(deadline, 3) - Instant::now(),
            Duration::from_millis(500)
        );
        assert_eq!(share(deadline, 1), deadline);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(share(deadline, 1), Instant::now());
    }

    /// The server accepts the connection and sends nothing.
    #[tokio::test]
    async fn a_silent_server_is_abandoned_after_the_time_of_the_address() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgres://u@127.0.0.1:{port}/db?connect_timeout=1&sslmode=disable");
        let began = Instant::now();
        let error = DatabaseUrl::from_str(&url)
            .unwrap()
            .connect()
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("no response in time"), "{error}");
        assert!(
            began.elapsed() >= Duration::from_secs(1) && began.elapsed() < DEFAULT_CONNECT_TIMEOUT
        );
    }
}
