//! A validated `DATABASE_URL`, which connects to a host that takes writes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::result::ConnectionError;
use diesel_async::AsyncPgConnection;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::config::{connect_timeout, connection_hosts, shared_config};
use super::host::{ConnectFailure, Host, join_failures};
use super::parts::{Parameter, UrlParts};
use crate::platform::db::tls;

const UNKNOWN_AFTER_PASSWORD: &str = "it has an unknown parameter; in a password, write & as %26";

/// A validated `DATABASE_URL`. `Display` and `Debug` never show the password.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Arc<Target>);

pub(super) struct Target {
    pub(super) hosts: Vec<Host>,
    /// The index of the host that is tried first: the last one that connected. That is the primary
    /// until it fails.
    preferred: AtomicUsize,
    pub(super) connect_timeout: Duration,
    tls: tls::Trust,
    parts: UrlParts,
    text: String,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = UrlParts::parse(text).map_err(|error| error.to_string())?;
        for parameter in &parts.parameters {
            match parameter {
                Parameter::Unknown { name: Some(name) } => {
                    return Err(format!("unknown parameter {name}"));
                }
                Parameter::Unknown { name: None } => return Err(UNKNOWN_AFTER_PASSWORD.to_owned()),
                Parameter::Known { .. } | Parameter::Password(_) => {}
            }
        }
        let (ssl_mode, tls) = tls::Trust::from_parameters(
            parts.parameter("sslmode"),
            parts.parameter("sslrootcert"),
        )?;
        let shared = shared_config(&parts, ssl_mode)?;
        let hosts = connection_hosts(&parts)?
            .into_iter()
            .map(|host| Host::new(&host, &parts, &shared));
        Ok(Self(Arc::new(Target {
            hosts: hosts.collect::<Result<_, _>>()?,
            preferred: AtomicUsize::default(),
            connect_timeout: connect_timeout(&parts)?,
            tls,
            text: text.to_owned(),
            parts,
        })))
    }
}

impl DatabaseUrl {
    /// Returns the URL with its password, for the environment of a child process.
    #[must_use]
    pub fn with_password(&self) -> &str {
        &self.0.text
    }

    /// Returns the URL with its password and with this `application_name`.
    #[must_use]
    pub fn with_password_for(&self, application_name: &str) -> String {
        let text = &self.0.text;
        let separator = if text.contains('?') { '&' } else { '?' };
        let name = utf8_percent_encode(application_name, NON_ALPHANUMERIC);
        format!("{text}{separator}application_name={name}")
    }

    /// Opens a connection to a host that takes writes, unless `target_session_attrs` says
    /// otherwise.
    ///
    /// # Errors
    /// When no host accepts the session, with the reason of each host.
    pub async fn connect(&self) -> Result<AsyncPgConnection, ConnectionError> {
        self.try_connect()
            .await
            .map_err(|failure| ConnectionError::BadConnection(failure.reason))
    }

    /// Connects as [`DatabaseUrl::connect`] does.
    ///
    /// # Errors
    /// Those of [`DatabaseUrl::connect`], with the information whether access is forbidden.
    pub async fn try_connect(&self) -> Result<AsyncPgConnection, ConnectFailure> {
        let Target {
            hosts,
            preferred,
            tls,
            connect_timeout,
            ..
        } = &*self.0;
        let start = preferred.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (0..hosts.len()).map(|offset| (start + offset) % hosts.len()) {
            // Boxed, because it would make the future of each caller large.
            match Box::pin(hosts[index].connect(tls, Instant::now() + *connect_timeout)).await {
                Ok(connection) => {
                    preferred.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(failure) => failures.push((index, failure)),
            }
        }
        failures.sort_unstable();
        let named = failures
            .into_iter()
            .map(|(index, failure)| (&hosts[index].name, failure));
        Err(join_failures(&named.collect::<Vec<_>>()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.parts.fmt(f)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
