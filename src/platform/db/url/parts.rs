//! Splits the text of a `DATABASE_URL` into its decoded parts.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

const SCHEMES: [&str; 2] = ["postgres", "postgresql"];
const DEFAULT_PORT: u16 = 5432;

/// The known parameters except `password`. Their values are shown.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "options",
    "port",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Why a text is not a database URL. The messages contain no part of the text, because any part may
/// belong to a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("it must begin with postgres:// or postgresql://")]
    Scheme,
    #[error(
        "in a user name, a password or the name of a database, write @ as %40, : as %3A, / as %2F \
         and ? as %3F"
    )]
    Credentials,
    #[error(
        "a port is a number from 1 to 65535; in a password, write @ as %40, : as %3A, / as %2F \
         and ? as %3F"
    )]
    Port,
    #[error("write an IPv6 address in brackets, as in [::1]:5432")]
    Brackets,
    #[error("in the name of a database, write / as %2F")]
    Database,
    #[error("write parameters as name=value, with & between them; in a value, write & as %26")]
    Parameter,
    #[error("it is not UTF-8 once it is decoded")]
    Encoding,
}

/// The decoded parts of a database URL.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlParts {
    pub(super) scheme: &'static str,
    pub user: Option<String>,
    pub password: Option<Vec<u8>>,
    pub hosts: Vec<UrlHost>,
    pub database: Option<String>,
    pub parameters: Vec<Parameter>,
}

/// One of the hosts between the credentials and the name of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlHost {
    pub name: HostName,
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A host name or an IP address.
    Tcp(String),
    /// The directory of a Unix domain socket.
    Unix(PathBuf),
}

/// A parameter of the query.
#[derive(Clone, PartialEq, Eq)]
pub enum Parameter {
    Known {
        name: &'static str,
        value: String,
    },
    Password(Vec<u8>),
    /// `name` is `None` if it may be a part of a password.
    Unknown {
        name: Option<String>,
    },
}

impl UrlParts {
    /// Splits a URL into its parts.
    ///
    /// # Errors
    /// When the parts are ambiguous. Unknown parameters and invalid values are not errors here.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(text).ok_or(UrlError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest
            .split_once('/')
            .map_or((rest, None), |(authority, database)| {
                (authority, Some(database))
            });
        let (credentials, hosts) = authority
            .split_once('@')
            .map_or((None, authority), |(before, after)| (Some(before), after));
        if hosts.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (user, password) = match credentials.map(|credentials| credentials.split_once(':')) {
            None => (None, None),
            Some(None) => (credentials, None),
            Some(Some((user, password))) => (Some(user), Some(password)),
        };
        if database.is_some_and(|database| database.contains('@')) {
            return Err(UrlError::Credentials);
        }
        if database.is_some_and(|database| database.contains('/')) {
            return Err(UrlError::Database);
        }
        Ok(Self {
            scheme,
            user: user.map(decode_text).transpose()?,
            password: password.map(decode_bytes),
            hosts: parse_hosts(hosts)?,
            database: database
                .filter(|database| !database.is_empty())
                .map(decode_text)
                .transpose()?,
            parameters: parse_parameters(query)?,
        })
    }

    /// Returns the last value of a parameter.
    #[must_use]
    pub fn parameter(&self, wanted: &str) -> Option<&str> {
        self.parameters
            .iter()
            .rev()
            .find_map(|parameter| match parameter {
                Parameter::Known { name, value } if *name == wanted => Some(value.as_str()),
                _ => None,
            })
    }
}

/// Splits a text after `://`. Returns `None` if the scheme is not that of PostgreSQL.
pub(super) fn split_scheme(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    Some((SCHEMES.into_iter().find(|known| *known == scheme)?, rest))
}

fn decode_bytes(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

fn decode_text(text: &str) -> Result<String, UrlError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| UrlError::Encoding)
}

fn parse_hosts(text: &str) -> Result<Vec<UrlHost>, UrlError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(parse_host).collect()
}

/// Parses `name`, `name:port` or `[address]:port`.
fn parse_host(text: &str) -> Result<UrlHost, UrlError> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(UrlError::Brackets)?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(UrlError::Brackets);
        }
        (address, port)
    } else {
        text.split_once(':')
            .map_or((text, None), |(name, port)| (name, Some(port)))
    };
    let port = match port {
        None | Some("") => None,
        Some(port) if port.contains(':') => return Err(UrlError::Brackets),
        Some(port) => Some(parse_port(port).ok_or(UrlError::Port)?),
    };
    Ok(UrlHost {
        name: HostName::decode(name)?,
        port,
    })
}

pub fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

impl HostName {
    fn decode(text: &str) -> Result<Self, UrlError> {
        let decoded = decode_bytes(text);
        if decoded.first() == Some(&b'/') {
            return Ok(Self::Unix(OsStr::from_bytes(&decoded).into()));
        }
        String::from_utf8(decoded)
            .map(Self::Tcp)
            .map_err(|_| UrlError::Encoding)
    }
}

/// From the value of the parameter `host`.
impl From<&str> for HostName {
    fn from(value: &str) -> Self {
        if value.starts_with('/') {
            Self::Unix(value.into())
        } else {
            Self::Tcp(value.to_owned())
        }
    }
}

fn parse_parameters(query: &str) -> Result<Vec<Parameter>, UrlError> {
    let mut parameters = Vec::new();
    let mut after_password = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(UrlError::Parameter)?;
        let name = decode_text(name)?;
        let known = PARAMETERS.into_iter().find(|known| *known == name);
        parameters.push(match known {
            Some(name) => Parameter::Known {
                name,
                value: decode_text(value)?,
            },
            None if name == "password" => Parameter::Password(decode_bytes(value)),
            // If a password contains both ? and =, its rest looks like an unknown parameter with an
            // @ in its value.
            None if value.contains('@') && !name.eq_ignore_ascii_case("password") => {
                return Err(UrlError::Credentials);
            }
            None if !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                return Err(UrlError::Parameter);
            }
            // If a password contains an &, its rest looks like the name of the next parameter.
            None => Parameter::Unknown {
                name: Some(name.clone()).filter(|_| !after_password),
            },
        });
        after_password |= name.eq_ignore_ascii_case("password");
    }
    Ok(parameters)
}

impl UrlHost {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}
