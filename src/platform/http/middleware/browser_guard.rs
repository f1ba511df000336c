//! Rejects requests that a page of another site makes a browser send.
//!
//! Any page can make a browser send a form or a `no-cors` request to any address, including
//! `127.0.0.1`. The page cannot read the response, but the service would handle the request. Two
//! checks prevent that:
//!
//! - A request that changes something must come from an allowed origin. Browsers send the origin in
//!   `Origin` and `Sec-Fetch-Site`. Other programs send neither header, and are accepted.
//! - A request to a service on a loopback address must name this machine in `Host`. With DNS
//!   rebinding, the host name of a malicious page resolves to `127.0.0.1`. Its origin then looks
//!   like that of the service, and only the name in `Host` reveals it.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use crate::platform::http::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins and host names that the checks accept. Clones share them.
#[derive(Debug, Clone)]
pub struct BrowserGuard {
    allowed_origins: Arc<[String]>,
    /// Accepted names in addition to those of this machine; `None` if the service does not listen
    /// on a loopback address.
    allowed_hosts: Option<Arc<[String]>>,
}

impl BrowserGuard {
    /// `address` is the address on which the service listens. The lists are `CORS_ALLOWED_ORIGINS`
    /// and `ALLOWED_HOSTS`.
    #[must_use]
    pub fn new(address: IpAddr, allowed_origins: &[String], allowed_hosts: &[String]) -> Self {
        let is_loopback = address.to_canonical().is_loopback();
        Self {
            allowed_origins: allowed_origins.into(),
            allowed_hosts: is_loopback.then(|| allowed_hosts.into()),
        }
    }

    fn check(&self, request: &RequestHead) -> Result<(), Problem> {
        // RFC 9112, section 3.2.2: the authority of an absolute request target replaces Host.
        let target = request.uri.authority().map(Authority::as_str);
        let header = request
            .headers
            .get(header::HOST)
            .map(|host| host.to_str().unwrap_or_default());
        let host = target.or(header);
        if !host.is_none_or(|host| self.accepts_host(host)) {
            return Err(misdirected_request());
        }
        if is_safe(&request.method) || self.has_allowed_origin(request, host) {
            return Ok(());
        }
        Err(cross_site_request())
    }

    /// Whether a request may have this name in `Host`. The port is ignored.
    fn accepts_host(&self, host: &str) -> bool {
        let Some(allowed) = &self.allowed_hosts else {
            return true;
        };
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let name = authority.host().trim_end_matches('.');
        !host.contains('@')
            && (is_loopback(name)
                || allowed
                    .iter()
                    .any(|allowed| allowed.eq_ignore_ascii_case(name)))
    }

    /// Whether a request comes from a page of an allowed origin, or from no page.
    fn has_allowed_origin(&self, request: &RequestHead, host: Option<&str>) -> bool {
        let mut origins = request.headers.get_all(header::ORIGIN).peekable();
        if origins.peek().is_some() {
            return origins.all(|origin| {
                origin
                    .to_str()
                    .is_ok_and(|origin| self.allows_origin(origin, host))
            });
        }
        let site = request
            .headers
            .get(SEC_FETCH_SITE)
            .map(header::HeaderValue::as_bytes);
        !matches!(site, Some(b"cross-site" | b"same-site"))
    }

    fn allows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        host.is_some_and(|host| is_own_origin(origin, host))
            || self
                .allowed_origins
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

/// Whether `origin` is that of this service, which is named `host` in the request. The scheme is
/// not compared, because a proxy may terminate TLS.
fn is_own_origin(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_port = |authority: &str| {
        authority
            .strip_suffix(default_port)
            .unwrap_or(authority)
            .to_owned()
    };
    without_port(authority).eq_ignore_ascii_case(&without_port(host))
}

fn is_loopback(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a request with this method changes nothing.
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

fn misdirected_request() -> Problem {
    let detail = "This service listens on a loopback address and accepts only the names of this \
        machine in Host. Set ALLOWED_HOSTS to accept others.";
    Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "misdirected-request",
        detail,
    )
}

fn cross_site_request() -> Problem {
    let detail = "A page of another site made the browser send this request. Only pages of this \
        service and of the origins in CORS_ALLOWED_ORIGINS may change something.";
    Problem::new(StatusCode::FORBIDDEN, "cross-site-request", detail)
}

/// Middleware: responds with 421 to another name in `Host`, and with 403 to another origin.
///
/// # Errors
/// Those of the service behind it.
pub async fn reject_other_sites<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let guard = request.app_data::<web::Data<BrowserGuard>>();
    match guard.map_or(Ok(()), |guard| guard.check(request.head())) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(problem) => Ok(request.error_response(problem).map_into_right_body()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn guard(address: &str) -> BrowserGuard {
        let origins = ["https://shop.example".to_owned()];
        BrowserGuard::new(
            address.parse().unwrap(),
            &origins,
            &["valerix.test".to_owned()],
        )
    }

    fn status(guard: &BrowserGuard, method: Method, headers: &[(&'static str, &str)]) -> u16 {
        let mut request = TestRequest::with_uri("/orders").method(method);
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_srv_request();
        guard
            .check(request.head())
            .map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_service_on_loopback_accepts_only_names_of_this_machine() {
        let named =
            |address: &str, host: &str| status(&guard(address), Method::GET, &[("host", host)]);
        for host in [
            "localhost",
            "LocalHost:5001",
            "localhost.:5001",
            "127.0.0.1:5001",
            "127.9.9.9",
            "[::1]:5001",
            "[::ffff:127.0.0.1]",
            "valerix.test:1",
        ] {
            assert_eq!(named("127.0.0.1", host), 200, "{host}");
            assert_eq!(named("::1", host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:5001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil@localhost",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "",
            " ",
        ] {
            assert_eq!(named("127.0.0.1", host), 421, "{host}");
            assert_eq!(named("0.0.0.0", host), 200, "{host}");
        }
        assert_eq!(
            status(&guard("127.0.0.1"), Method::GET, &[]),
            200,
            "HTTP/1.0 has no Host"
        );
    }

    #[test]
    fn changes_are_accepted_only_from_allowed_origins() {
        let posted = |headers: &[(&'static str, &str)]| {
            status(
                &guard("0.0.0.0"),
                Method::POST,
                &[&[("host", "valerix.test:5001")], headers].concat(),
            )
        };
        for allowed in [
            &[][..],
            &[("origin", "http://valerix.test:5001")],
            &[
                ("origin", "https://VALERIX.test:5001"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("origin", "https://shop.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert_eq!(posted(allowed), 200, "{allowed:?}");
        }
        for rejected in [
            &[("origin", "null")][..],
            &[("origin", "")],
            &[("origin", "http://valerix.test")],
            &[("origin", "http://valerix.test:5002")],
            &[
                ("origin", "http://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("origin", "https://shop.example.evil.example")],
            &[("origin", "ftp://valerix.test:5001")],
            &[
                ("origin", "https://shop.example"),
                ("origin", "http://evil.example"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(posted(rejected), 403, "{rejected:?}");
        }
    }

    #[test]
    fn only_requests_that_change_something_are_rejected() {
        let evil = [("host", "x"), ("origin", "http://evil.example")];
        for (method, expected) in [
            ("GET", 200),
            ("HEAD", 200),
            ("OPTIONS", 200),
            ("PUT", 403),
            ("DELETE", 403),
        ] {
            assert_eq!(
                status(&guard("0.0.0.0"), method.parse().unwrap(), &evil),
                expected,
                "{method}"
            );
        }
        assert_eq!(
            status(
                &guard("0.0.0.0"),
                Method::from_bytes(b"BREW").unwrap(),
                &evil
            ),
            403
        );
    }

    #[test]
    fn a_default_port_can_be_omitted() {
        assert!(is_own_origin("http://valerix.test", "valerix.test:80"));
        assert!(is_own_origin("https://valerix.test", "valerix.test:443"));
        assert!(is_own_origin("https://valerix.test", "valerix.test"));
        assert!(!is_own_origin("http://valerix.test", "valerix.test:443"));
    }
}
