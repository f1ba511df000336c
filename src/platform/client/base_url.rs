//! The address of a service.

use actix_web::http::Uri;

/// The address of a service: `http://host:port`, with an optional path before its routes.
#[derive(Debug, Clone)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Whether the address is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let uri = self.0.parse::<Uri>().ok();
        let host = uri
            .as_ref()
            .and_then(Uri::host)
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

const FORM: &str = "http://, a host, and no query";

impl std::str::FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| FORM.to_owned())?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err("without a user name and a password".to_owned());
        }
        let is_plain_http = uri.scheme_str() == Some("http") && uri.query().is_none();
        let after_scheme = text
            .split_once("://")
            .map(|(_, rest)| rest.trim_end_matches('/'));
        match uri.host().zip(after_scheme) {
            // `HTTP://` is valid too.
            Some((host, rest)) if is_plain_http && !host.is_empty() => {
                Ok(Self(format!("http://{rest}")))
            }
            _ => Err(FORM.to_owned()),
        }
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
