//! `DATABASE_URL`: how it is read, and how a connection is opened to the right one of its hosts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::result::ConnectionError;
use diesel_async::AsyncPgConnection;
use tokio_postgres::Config;
use tokio_postgres::config::{self, SslMode, TargetSessionAttrs};

use crate::platform::tls;

/// For one host, until it is known to take writes. A host that hangs accepts the connection and says nothing more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A host that went away without a word is noticed after some ten seconds also on connections that nobody uses; on those
/// in use, by [`super::WORK_TIMEOUT`].
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// A checked `DATABASE_URL`. Its text forms never show the password.
#[derive(Clone)]
pub struct DatabaseUrl(Arc<Address>);

struct Address {
    hosts: Vec<Host>,
    /// The host to begin with: the one that worked last, since it is the primary until it fails.
    first: AtomicUsize,
    tls: tls::Trust,
    text: String,
}

struct Host {
    name: String,
    config: Config,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("it must begin with postgres:// or postgresql://".into());
        }
        let (rest, tls) = tls::Trust::split_off(text)?;
        let any_session = rest.contains("target_session_attrs=");
        let hosts = each_host(&rest)
            .map(|(name, url)| {
                let mut config = parse(&url)?;
                config.ssl_mode(if tls.is_required() { SslMode::Require } else { config.get_ssl_mode() });
                if !any_session {
                    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
                }
                Ok(Host { name, config })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self(Arc::new(Address { hosts, first: AtomicUsize::default(), tls, text: text.to_owned() })))
    }
}

/// A URL for each of the hosts in `postgres://user:password@one:5432,two:5432/database`, and the host.
fn each_host(url: &str) -> impl Iterator<Item = (String, String)> {
    let begin = url.find('@').or_else(|| url.find("//").map(|slashes| slashes + 1)).map_or(0, |at| at + 1);
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |length| begin + length);
    url[begin..end]
        .split(',')
        .map(move |host| (host.to_owned(), format!("{}{host}{}", &url[..begin], &url[end..])))
}

/// For one host.
fn parse(url: &str) -> Result<Config, String> {
    let mut config = Config::from_str(url).map_err(|error| {
        use std::error::Error;
        error.source().map_or_else(|| error.to_string(), ToString::to_string)
    })?;
    let several = |host: &config::Host| matches!(host, config::Host::Tcp(name) if name.contains(','));
    match config.get_hosts() {
        [] => return Err("it names no host, or nothing between two commas".into()),
        [host] if !several(host) && config.get_hostaddrs().len() < 2 => {}
        _ => return Err("several hosts are written as host1:5432,host2:5432, not as parameters".into()),
    }
    if url.split('?').next().unwrap_or_default().matches('@').count() > 1 {
        return Err("it has more than one @: in a user's name or password it is written %40".into());
    }
    config.connect_timeout(CONNECT_TIMEOUT);
    config.tcp_user_timeout(UNACKNOWLEDGED).keepalives_idle(KEEPALIVE_IDLE);
    config.keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_RETRIES);
    if config.get_application_name().is_none() {
        config.application_name("valerix");
    }
    Ok(config)
}

impl DatabaseUrl {
    /// The address with its password, for a child process's environment.
    #[must_use]
    pub fn with_password(&self) -> &str {
        &self.0.text
    }

    /// Opens one connection: to a host that takes writes, unless the address says otherwise by `target_session_attrs`.
    ///
    /// # Errors
    /// When no host can be reached, or all refuse; each with its reason.
    pub async fn connect(&self) -> Result<AsyncPgConnection, ConnectionError> {
        let Address { hosts, first, .. } = &*self.0;
        let begin = first.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for index in (0..hosts.len()).map(|offset| (begin + offset) % hosts.len()) {
            match self.connect_to(&hosts[index]).await {
                Ok(connection) => {
                    first.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(reason) => reasons.push((index, reason)),
            }
        }
        // In the order of the address, so that the same trouble has the same words.
        reasons.sort_unstable();
        let reasons = reasons.iter().map(|(index, reason)| match hosts.len() {
            1 => reason.clone(),
            _ => format!("{}: {reason}", hosts[*index].name),
        });
        Err(ConnectionError::BadConnection(reasons.collect::<Vec<_>>().join("; ")))
    }

    async fn connect_to(&self, host: &Host) -> Result<AsyncPgConnection, String> {
        let tls = self.0.tls.connector()?;
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, host.config.connect(tls)).await;
        let (client, connection) =
            opened.map_err(|_| "no answer in time".to_owned())?.map_err(|error| describe(&error))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .map_err(|error| error.to_string())
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0.text))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hides what stands between the user's name and the last `@`, and a `password=` parameter.
#[must_use]
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Without an address the text may be anything, a bare password too.
        return "***".to_owned();
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), rest),
            None => (format!("{credentials}@"), rest),
        },
        None => (String::new(), rest),
    };
    let shown = rest.split_inclusive(['?', '&']).map(|part| {
        let end = if part.ends_with('&') { "&" } else { "" };
        if part.starts_with("password=") { format!("password=***{end}") } else { part.to_owned() }
    });
    format!("{scheme}://{user}{}", shown.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_form_shows_the_password() {
        for (url, shown) in [
            ("postgres://u:p@ss@h/db?sslmode=disable", "postgres://u:***@h/db?sslmode=disable"),
            ("postgres://u:p?x@h/db", "postgres://u:***@h/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres://h/db?user=u&password=p&a=b", "postgres://h/db?user=u&password=***&a=b"),
            ("secret", "***"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }

    #[test]
    fn every_ssl_mode_of_the_contract_is_taken_and_others_are_named() {
        for mode in ["disable", "prefer", "require", "verify-full"] {
            let url = DatabaseUrl::from_str(&format!("postgres://u:p@h:5432/db?sslmode={mode}"));
            assert!(url.is_ok(), "{mode}: {url:?}");
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
            (address, host.config.get_ports().first().copied().unwrap_or(5432))
        };
        url.0.hosts.iter().map(of).collect()
    }

    #[test]
    fn several_hosts_are_each_read_with_what_they_share() {
        let one_two = [("one".to_owned(), 5432), ("two".to_owned(), 6432)];
        for url in [
            "postgres://u:p@one,two:6432/db",
            "postgres://u:p@one:5432,two:6432/db?sslmode=verify-full&sslrootcert=/a,b",
            "postgres://one,two:6432?target_session_attrs=any",
        ] {
            assert_eq!(hosts(url), one_two, "{url}");
        }
        assert_eq!(hosts("postgres://[::1]:7,h/db")[0], ("::1".to_owned(), 7));
        assert_eq!(hosts("postgres://%2Frun%2Fa/db")[0].0, "/run/a");
        let url = DatabaseUrl::from_str("postgres://u:p%40@one,two/db").unwrap();
        for host in &url.0.hosts {
            assert_eq!(host.config.get_password(), Some(&b"p@"[..]));
            assert_eq!(host.config.get_dbname(), Some("db"));
        }
    }

    #[test]
    fn a_session_must_take_writes_unless_the_address_says_otherwise() {
        for (query, attributes) in [
            ("", TargetSessionAttrs::ReadWrite),
            ("?sslmode=disable", TargetSessionAttrs::ReadWrite),
            ("?target_session_attrs=read-write", TargetSessionAttrs::ReadWrite),
            ("?target_session_attrs=any", TargetSessionAttrs::Any),
            ("?target_session_attrs=read-only", TargetSessionAttrs::ReadOnly),
        ] {
            let url = DatabaseUrl::from_str(&format!("postgres://h,i/db{query}")).unwrap();
            for host in &url.0.hosts {
                assert_eq!(host.config.get_target_session_attrs(), attributes, "{query}");
            }
        }
    }

    #[test]
    fn a_wrong_url_is_refused_with_a_reason() {
        for (url, reason) in [
            ("", "postgres://"),
            ("mysql://h/db", "postgres://"),
            ("postgres://h:port/db", "port"),
            ("postgres:///db", "no host"),
            ("postgres://one,,two/db", "no host"),
            ("postgres://one,two:port/db", "port"),
            ("postgres:///db?host=one,two", "host1:5432,host2:5432"),
            ("postgres://u:p@ss@h/db", "%40"),
            ("postgres://h/db?nonsense=1", "nonsense"),
            ("postgres://h/db?target_session_attrs=primary", "target_session_attrs"),
        ] {
            let error = DatabaseUrl::from_str(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
