//! The text of a `DATABASE_URL`, parsed once into its parts.
//!
//! The text form of an address is built from its parts and never cut out of the original text. If the
//! parts are ambiguous, only the scheme is shown, because the rest may belong to a password.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

const SCHEMES: [&str; 2] = ["postgres", "postgresql"];
const HIDDEN: &str = "***";
const DEFAULT_PORT: u16 = 5432;

/// Characters with a meaning of their own before the query.
const DELIMITERS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'@')
    .add(b':')
    .add(b'/')
    .add(b'?')
    .add(b'#')
    .add(b',');
/// Characters with a meaning of their own in the value of a parameter.
const QUERY_DELIMITERS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'#');

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

/// Why a text is not an address. The messages contain no part of the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it must begin with postgres:// or postgresql://")]
    Scheme,
    #[error(
        "in a user name, a password and the name of a database, @ is written %40, : %3A, / %2F \
         and ? %3F"
    )]
    Credentials,
    #[error(
        "a port is a number from 1 to 65535; in a password, @ is written %40, : %3A, / %2F and \
         ? %3F"
    )]
    Port,
    #[error("an IPv6 address is written in brackets, as in [::1]:5432")]
    Brackets,
    #[error("in the name of a database, / is written %2F")]
    Database,
    #[error("parameters are written name=value, with & between them; in a value, & is written %26")]
    Parameter,
    #[error("it is not UTF-8 once it is decoded")]
    Encoding,
}

/// The decoded parts of an address.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    pub user: Option<String>,
    pub password: Option<Vec<u8>>,
    pub hosts: Vec<Host>,
    pub database: Option<String>,
    pub parameters: Vec<Parameter>,
}

/// One of the hosts before the name of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: HostName,
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A name or an IP address.
    Tcp(String),
    /// The directory of a Unix socket.
    Unix(PathBuf),
}

#[derive(Clone, PartialEq, Eq)]
pub enum Parameter {
    Known {
        name: &'static str,
        value: String,
    },
    Password(Vec<u8>),
    /// The name is absent if it may be a part of a password.
    Unknown {
        name: Option<String>,
    },
}

impl Address {
    /// # Errors
    /// When the parts are ambiguous. Unknown parameters and wrong values are not errors here.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = scheme_of(text).ok_or(AddressError::Scheme)?;
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
            return Err(AddressError::Credentials);
        }
        let (user, password) = match credentials.map(|credentials| credentials.split_once(':')) {
            None => (None, None),
            Some(None) => (credentials, None),
            Some(Some((user, password))) => (Some(user), Some(password)),
        };
        if database.is_some_and(|database| database.contains('@')) {
            return Err(AddressError::Credentials);
        }
        if database.is_some_and(|database| database.contains('/')) {
            return Err(AddressError::Database);
        }
        Ok(Self {
            scheme,
            user: user.map(text_of).transpose()?,
            password: password.map(bytes_of),
            hosts: hosts_of(hosts)?,
            database: database
                .filter(|database| !database.is_empty())
                .map(text_of)
                .transpose()?,
            parameters: parameters_of(query)?,
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

fn scheme_of(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    Some((SCHEMES.into_iter().find(|known| *known == scheme)?, rest))
}

fn bytes_of(written: &str) -> Vec<u8> {
    percent_decode_str(written).collect()
}

fn text_of(written: &str) -> Result<String, AddressError> {
    percent_decode_str(written)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| AddressError::Encoding)
}

fn hosts_of(written: &str) -> Result<Vec<Host>, AddressError> {
    if written.is_empty() {
        return Ok(Vec::new());
    }
    written.split(',').map(host_of).collect()
}

/// `name`, `name:port`, `[address]:port`
fn host_of(written: &str) -> Result<Host, AddressError> {
    let (name, port) = if let Some(rest) = written.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(AddressError::Brackets)?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(AddressError::Brackets);
        }
        (address, port)
    } else {
        written
            .split_once(':')
            .map_or((written, None), |(name, port)| (name, Some(port)))
    };
    let port = match port {
        None | Some("") => None,
        Some(port) if port.contains(':') => return Err(AddressError::Brackets),
        Some(port) => Some(port_of(port).ok_or(AddressError::Port)?),
    };
    Ok(Host {
        name: HostName::of(name)?,
        port,
    })
}

pub fn port_of(written: &str) -> Option<u16> {
    written.parse().ok().filter(|port| *port > 0)
}

impl HostName {
    fn of(written: &str) -> Result<Self, AddressError> {
        let decoded = bytes_of(written);
        if decoded.first() == Some(&b'/') {
            return Ok(Self::Unix(OsStr::from_bytes(&decoded).into()));
        }
        String::from_utf8(decoded)
            .map(Self::Tcp)
            .map_err(|_| AddressError::Encoding)
    }
}

/// Reads the value of the parameter `host`.
impl From<&str> for HostName {
    fn from(value: &str) -> Self {
        if value.starts_with('/') {
            Self::Unix(value.into())
        } else {
            Self::Tcp(value.to_owned())
        }
    }
}

fn parameters_of(query: &str) -> Result<Vec<Parameter>, AddressError> {
    let mut parameters = Vec::new();
    let mut after_password = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(AddressError::Parameter)?;
        let name = text_of(name)?;
        let known = PARAMETERS.into_iter().find(|known| *known == name);
        parameters.push(match known {
            Some(name) => Parameter::Known {
                name,
                value: text_of(value)?,
            },
            None if name == "password" => Parameter::Password(bytes_of(value)),
            // With an @ in the value of an unknown parameter, the text before it may be a password
            // that contains a ?.
            None if value.contains('@') && !name.eq_ignore_ascii_case("password") => {
                return Err(AddressError::Credentials);
            }
            None if !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                return Err(AddressError::Parameter);
            }
            // The text after an & in a password looks like the name of the next parameter.
            None => Parameter::Unknown {
                name: Some(name.clone()).filter(|_| !after_password),
            },
        });
        after_password |= name.eq_ignore_ascii_case("password");
    }
    Ok(parameters)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match (&self.user, &self.password) {
            (Some(user), Some(_)) => write!(f, "{}:{HIDDEN}@", encoded(user, DELIMITERS))?,
            (Some(user), None) => write!(f, "{}@", encoded(user, DELIMITERS))?,
            (None, _) => {}
        }
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if index == 0 { "" } else { "," })?;
        }
        if let Some(database) = &self.database {
            write!(f, "/{}", encoded(database, DELIMITERS))?;
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { "?" } else { "&" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostName::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
            HostName::Tcp(name) => f.write_str(&encoded(name, DELIMITERS))?,
            HostName::Unix(path) => {
                write!(
                    f,
                    "{}",
                    percent_encode(path.as_os_str().as_bytes(), DELIMITERS)
                )?;
            }
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Host {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { name, value } => write!(f, "{name}={}", encoded(value, QUERY_DELIMITERS)),
            Self::Password(_) => write!(f, "password={HIDDEN}"),
            Self::Unknown { name: Some(name) } => write!(f, "{name}={HIDDEN}"),
            Self::Unknown { name: None } => f.write_str(HIDDEN),
        }
    }
}

fn encoded(text: &str, delimiters: &'static AsciiSet) -> String {
    percent_encode(text.as_bytes(), delimiters).to_string()
}

/// Returns the part of a text that is safe to show, for a text that should be an address.
#[must_use]
pub fn redact(text: &str) -> String {
    match Address::parse(text) {
        Ok(address) => address.to_string(),
        Err(AddressError::Scheme) => HIDDEN.to_owned(),
        Err(_) => scheme_of(text).map_or(HIDDEN.to_owned(), |(scheme, _)| {
            format!("{scheme}://{HIDDEN}")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_but_the_password_is_shown() {
        for (text, shown) in [
            (
                "postgres://u:SECRET@h/db?sslmode=disable",
                "postgres://u:***@h/db?sslmode=disable",
            ),
            (
                "postgresql://u:a%40SECRET@h:7,i/db",
                "postgresql://u:***@h:7,i/db",
            ),
            ("postgres://u@h/db", "postgres://u@h/db"),
            (
                "postgres://h/db?user=u&password=SECRET&sslmode=no",
                "postgres://h/db?user=u&password=***&sslmode=no",
            ),
            (
                "postgres://h/db?user=u&password=p@ssSECRET",
                "postgres://h/db?user=u&password=***",
            ),
            (
                "postgres://h/db?pass%77ord=SECRET",
                "postgres://h/db?password=***",
            ),
            (
                "postgres://h/db?PASSWORD=SECRET",
                "postgres://h/db?PASSWORD=***",
            ),
            (
                "postgres://h/db?PASSWORD=p@SECRET",
                "postgres://h/db?PASSWORD=***",
            ),
            (
                "postgres://h/db?sslpassword=SECRET",
                "postgres://h/db?sslpassword=***",
            ),
            (
                "postgres://h/db?password=p&SECRET=1",
                "postgres://h/db?password=***&***",
            ),
            (
                "postgres://h?application_name=me@work",
                "postgres://h?application_name=me@work",
            ),
            (
                "postgres://%2Frun%2Fa,[::1]:7/a%20b",
                "postgres://%2Frun%2Fa,[::1]:7/a%20b",
            ),
            (
                "postgres://u%0a@h/db%0d?options=%0a",
                "postgres://u%0A@h/db%0D?options=%0A",
            ),
        ] {
            assert_eq!(redact(text), shown, "{text}");
        }
    }

    #[test]
    fn of_an_ambiguous_address_only_the_scheme_is_shown() {
        use AddressError::{Credentials, Database, Encoding, Parameter, Port, Scheme};
        for (text, error) in [
            ("SECRET", Scheme),
            ("mysql://u:SECRET@h/db", Scheme),
            ("postgres://u:p@SECRET@h/db", Credentials),
            ("postgres://u:SE/CRET@h/db", Credentials),
            ("postgres://u:1/SECRET@h/db", Credentials),
            ("postgres://u:1/SECRET/db", Database),
            ("postgres://u:SE?CRET@h/db", Port),
            ("postgres://u:1?SECRET@h/db", Parameter),
            ("postgres://u:1?SECRET=2@h/db", Credentials),
            ("postgres://u:SECRET", Port),
            ("postgres://h/db?password=p&SECRET", Parameter),
            ("postgres://u%ff:SECRET@h/db", Encoding),
        ] {
            assert_eq!(Address::parse(text).err(), Some(error), "{text}");
            let shown = redact(text);
            assert!(
                ["***", "postgres://***"].contains(&shown.as_str()),
                "{text}: {shown}"
            );
        }
    }

    #[test]
    fn a_password_of_any_kind_is_never_shown() {
        let odd = [
            "@", ":", "/", "?", "#", "&", "=", ",", "%", "[", "]", "%40", "\n", " ", "1", "",
        ];
        let pieces = odd
            .iter()
            .flat_map(|left| odd.iter().map(move |right| format!("{left}SECRET{right}")));
        for password in pieces {
            for text in [
                format!("postgres://u:{password}@h:1/db?sslmode=disable"),
                format!("postgres://u:1{password}@h/db?application_name=me@work"),
                format!("postgres://h/db?user=u&password={password}&sslmode=disable"),
                format!("postgres://h/db?PassWord={password}"),
            ] {
                let shown = redact(&text);
                assert!(!shown.contains("SECRET"), "{text:?}: {shown}");
                assert!(!shown.contains('\n'), "{text:?}");
            }
        }
    }
}
