//! How each value is read. An error says what the variable takes, in words that follow "it takes".

use std::net::IpAddr;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use crate::platform::client::BaseUrl;
use crate::platform::db::DatabaseUrl;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::telemetry::{Certificates, Protocol};

pub fn ip_address(text: &str) -> Result<IpAddr, String> {
    let text = if text == "localhost" {
        "127.0.0.1"
    } else {
        text
    };
    text.parse()
        .map_err(|_| "an IP address, such as 127.0.0.1, 0.0.0.0 or ::1".to_owned())
}

pub fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| "a port from 1 to 65535".to_owned())
}

pub fn pool_size(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|size| (1..=1000).contains(size))
        .ok_or_else(|| "a number from 1 to 1000".to_owned())
}

pub fn milliseconds(text: &str) -> Result<u64, String> {
    let allowed = |ms: &u64| (1..=60_000).contains(ms);
    text.parse()
        .ok()
        .filter(allowed)
        .ok_or_else(|| "milliseconds from 1 to 60000".to_owned())
}

pub fn seconds(text: &str) -> Result<u64, String> {
    // What PostgreSQL adds to a time as milliseconds in 32 bits.
    let most = 2_000_000;
    let allowed = |seconds: &u64| (1..=most).contains(seconds);
    text.parse()
        .ok()
        .filter(allowed)
        .ok_or_else(|| format!("seconds from 1 to {most}"))
}

/// To the second.
pub fn minutes(text: &str) -> Result<Duration, String> {
    let allowed = |minutes: &f64| (0.1..=525_600.0).contains(minutes);
    let seconds = text
        .parse()
        .ok()
        .filter(allowed)
        .map(|minutes: f64| (minutes * 60.0).round());
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "minutes from 0.1 to 525600".to_owned())
}

pub fn crash_plan(text: &str) -> Result<failpoint::Plan, String> {
    text.parse()
}

pub fn delay(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|ms| *ms <= 60_000)
        .ok_or_else(|| "milliseconds from 0 to 60000".to_owned())
}

pub fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a number from 0 to 1".to_owned())
}

pub fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("a whole number from 0 to {}", u64::MAX))
}

/// An address for the dashboard's links: nothing else than http, so that no link can run a script.
pub fn page_url(text: &str) -> Result<String, String> {
    let known = url::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    known
        .then(|| text.to_owned())
        .ok_or_else(|| "an address, such as http://localhost:3030".to_owned())
}

pub fn trace_url(text: &str) -> Result<String, String> {
    let takes = "an address with {trace_id} in it, such as http://localhost:16686/trace/{trace_id}";
    page_url(text)
        .ok()
        .filter(|url| url.contains("{trace_id}"))
        .ok_or_else(|| takes.to_owned())
}

pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

pub fn token(text: &str) -> Result<String, String> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    visible
        .then(|| text.to_owned())
        .ok_or_else(|| "one or more visible ASCII characters".to_owned())
}

pub fn database_url(text: &str) -> Result<DatabaseUrl, String> {
    let form = "postgres://user:password@host:port/name?sslmode=disable|prefer|require|verify-ca|verify-full";
    text.parse().map_err(|error| format!("{form} ({error})"))
}

pub fn base_url(text: &str) -> Result<BaseUrl, String> {
    text.parse()
        .map_err(|error| format!("an address such as http://127.0.0.1:5002 ({error})"))
}

/// Returns the origin as a browser sends it: in lower case, without the scheme's own port.
pub fn origin(text: &str) -> Result<String, String> {
    let takes = || "origins such as http://localhost:5001, separated by commas".to_owned();
    let text = text.trim();
    let (scheme, host) = text.split_once("://").ok_or_else(takes)?;
    let is_plain = !host.is_empty()
        && !host.contains(['/', '*', '?', '#', '@', ' '])
        && ["http", "https"].contains(&scheme);
    let url = url::Url::parse(text)
        .ok()
        .filter(|_| is_plain)
        .ok_or_else(takes)?;
    Ok(url.origin().ascii_serialization())
}

pub fn host_name(text: &str) -> Result<String, String> {
    let takes =
        || "host names without a port, such as valerix.example, separated by commas".to_owned();
    let text = text.trim();
    let host = url::Host::parse(text).ok().filter(|_| !text.contains('*'));
    host.map(|host| host.to_string()).ok_or_else(takes)
}

/// Empty means unset, as OpenTelemetry has it.
#[derive(Debug, Clone)]
pub struct OtlpEndpoint(pub Option<String>);

pub fn otlp_endpoint(text: &str) -> Result<OtlpEndpoint, String> {
    if text.is_empty() {
        return Ok(OtlpEndpoint(None));
    }
    let takes = || {
        "host:port, http://host:port or https://host:port, such as otel-collector:4317".to_owned()
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(takes());
    }
    // The address of a service but for its scheme.
    let url: BaseUrl = format!("http://{rest}").parse().map_err(|_| takes())?;
    Ok(OtlpEndpoint(Some(
        url.to_string().replacen("http", &scheme, 1),
    )))
}

pub fn otlp_protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err("grpc or http/protobuf".to_owned()),
    }
}

pub fn otlp_certificate(path: &str) -> Result<Certificates, String> {
    Certificates::read(path.as_ref())
        .map_err(|error| format!("a file of certificates in PEM form ({error})"))
}

pub const USUAL_LOG: &str = "info,actix_server=warn";

/// Empty means unset.
pub fn log_filter(text: &str) -> Result<Targets, String> {
    let takes =
        |why: &str| format!("tracing directives, such as info or valerix=debug,info ({why})");
    let mut directives: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    if directives.is_empty() {
        directives.push(USUAL_LOG);
    }
    // `Targets` would take such a one for something that was not meant.
    let is_odd =
        |directive: &&&str| directive.contains(['[', '{', ' ', '"']) || directive.ends_with('=');
    if let Some(odd) = directives.iter().find(is_odd) {
        return Err(takes(&format!(
            "'{odd}' is none; spans and fields are not looked at"
        )));
    }
    directives
        .join(",")
        .parse()
        .map_err(|error| takes(&format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_send_them() {
        for (written, sent) in [
            ("http://shop.example", "http://shop.example"),
            (" https://Shop.Example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://[::1]:5001", "http://[::1]:5001"),
        ] {
            assert_eq!(origin(written).as_deref(), Ok(sent), "{written}");
        }
        for wrong in [
            "*",
            "http://*",
            "shop.example",
            "http://",
            "http://a/",
            "http://u@a",
            "ftp://a",
            "null",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_names_have_no_port() {
        assert_eq!(
            host_name(" Valerix.Example").as_deref(),
            Ok("valerix.example")
        );
        assert_eq!(host_name("[2001:db8::1]").as_deref(), Ok("[2001:db8::1]"));
        for wrong in [
            "",
            "valerix.example:80",
            "http://valerix.example",
            "a b",
            "*",
        ] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn levels_are_read_as_they_are_usually_written() {
        let usual = log_filter(USUAL_LOG).unwrap();
        for written in [
            "",
            " ",
            "info, actix_server=warn",
            "info,actix_server=warn,",
        ] {
            assert_eq!(log_filter(written), Ok(usual.clone()), "{written:?}");
        }
        for odd in [
            "valerix[request]=debug",
            "valerix=",
            "info actix_server=warn",
            "[{order_id}]=debug",
        ] {
            assert!(log_filter(odd).unwrap_err().contains("is none"), "{odd}");
        }
    }
}
