//! The text form of a database URL that is safe to show.
//!
//! It is built from the decoded parts, and never cut out of the original text. If the parts are
//! ambiguous, only the scheme is shown, because the rest may belong to a password.

use std::fmt;
use std::os::unix::ffi::OsStrExt;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::parts::{HostName, Parameter, UrlError, UrlHost, UrlParts, split_scheme};

/// Stands for a password, and for text that may belong to one.
const HIDDEN: &str = "***";
/// Characters that must be encoded before the query.
const DELIMITERS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'@')
    .add(b':')
    .add(b'/')
    .add(b'?')
    .add(b'#')
    .add(b',');
/// Characters that must be encoded in the value of a parameter.
const QUERY_DELIMITERS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'#');

impl fmt::Display for UrlParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match (&self.user, &self.password) {
            (Some(user), Some(_)) => write!(f, "{}:{HIDDEN}@", encode(user, DELIMITERS))?,
            (Some(user), None) => write!(f, "{}@", encode(user, DELIMITERS))?,
            (None, _) => {}
        }
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if index == 0 { "" } else { "," })?;
        }
        if let Some(database) = &self.database {
            write!(f, "/{}", encode(database, DELIMITERS))?;
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { "?" } else { "&" })?;
        }
        Ok(())
    }
}

impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostName::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
            HostName::Tcp(name) => f.write_str(&encode(name, DELIMITERS))?,
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

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { name, value } => write!(f, "{name}={}", encode(value, QUERY_DELIMITERS)),
            Self::Password(_) => write!(f, "password={HIDDEN}"),
            Self::Unknown { name: Some(name) } => write!(f, "{name}={HIDDEN}"),
            Self::Unknown { name: None } => f.write_str(HIDDEN),
        }
    }
}

/// Returns the part of a text that is safe to show. The text should be a database URL, but may be
/// anything.
#[must_use]
pub fn redact(text: &str) -> String {
    match UrlParts::parse(text) {
        Ok(parts) => parts.to_string(),
        Err(UrlError::Scheme) => HIDDEN.to_owned(),
        Err(_) => split_scheme(text).map_or(HIDDEN.to_owned(), |(scheme, _)| {
            format!("{scheme}://{HIDDEN}")
        }),
    }
}

fn encode(text: &str, delimiters: &'static AsciiSet) -> String {
    percent_encode(text.as_bytes(), delimiters).to_string()
}

#[cfg(test)]
mod tests {
    use super::redact;
    use crate::platform::db::url::parts::{UrlError, UrlParts};

    #[test]
    fn every_part_except_the_password_is_shown() {
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
    fn only_the_scheme_of_an_ambiguous_url_is_shown() {
        use UrlError::{Credentials, Database, Encoding, Parameter, Port, Scheme};
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
            assert_eq!(UrlParts::parse(text).err(), Some(error), "{text}");
            let shown = redact(text);
            assert!(
                ["***", "postgres://***"].contains(&shown.as_str()),
                "{text}: {shown}"
            );
        }
    }

    #[test]
    fn no_password_is_ever_shown() {
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
