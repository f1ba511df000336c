//! Parsers of single values. An error says what the value takes, in words that follow "it takes".

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::error::Takes;
use crate::api::{MAX_RETENTION_DAYS, is_product_id};
use crate::platform::client::BaseUrl;
use crate::platform::db::DatabaseUrl;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::telemetry::{Certificates, DEFAULT_LOG_FILTER, Protocol};
use crate::{inventory, order, payment};

/// PostgreSQL adds it to a time as milliseconds in a signed integer of 32 bits.
const MAX_SECONDS: u64 = 2_000_000;

/// A value that the range contains.
pub fn in_range<T>(text: &str, range: &RangeInclusive<T>, unit: &str) -> Result<T, Takes>
where
    T: FromStr + PartialOrd + Display,
{
    let (min, max) = (range.start(), range.end());
    text.parse()
        .ok()
        .filter(|value| range.contains(value))
        .ok_or_else(|| Takes(format!("{unit} from {min} to {max}")))
}

pub fn ip_address(text: &str) -> Result<IpAddr, Takes> {
    let text = if text == "localhost" {
        "127.0.0.1"
    } else {
        text
    };
    text.parse()
        .map_err(|_| Takes::text("an IP address, such as 127.0.0.1, 0.0.0.0 or ::1"))
}

pub fn port(text: &str) -> Result<u16, Takes> {
    in_range(text, &(1..=65_535), "a port")
}

pub fn pool_size(text: &str) -> Result<u32, Takes> {
    in_range(text, &(1..=1000), "a whole number")
}

pub fn timeout_ms(text: &str) -> Result<u64, Takes> {
    in_range(text, &(1..=60_000), "whole milliseconds")
}

pub fn delay_ms(text: &str) -> Result<u32, Takes> {
    in_range(text, &(0..=60_000), "whole milliseconds")
}

pub fn seconds(text: &str) -> Result<u64, Takes> {
    in_range(text, &(1..=MAX_SECONDS), "whole seconds")
}

pub fn retention_days(text: &str) -> Result<u32, Takes> {
    in_range(text, &(1..=MAX_RETENTION_DAYS), "days")
}

/// Minutes with a fraction, rounded to a second.
pub fn minutes(text: &str) -> Result<Duration, Takes> {
    let minutes = in_range(text, &(0.1..=525_600.0), "minutes")?;
    Ok(Duration::from_secs_f64((minutes * 60.0_f64).round()))
}

pub fn fraction(text: &str) -> Result<f64, Takes> {
    in_range(text, &(0.0..=1.0), "a number")
}

pub fn seed(text: &str) -> Result<u64, Takes> {
    in_range(text, &(0..=u64::MAX), "a whole number")
}

pub fn boolean(text: &str) -> Result<bool, Takes> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Takes::text("true or false")),
    }
}

pub fn failpoint_plan(text: &str) -> Result<failpoint::Plan, Takes> {
    let known = [
        order::FAILPOINTS,
        order::RETENTION_FAILPOINTS,
        inventory::FAILPOINTS,
        inventory::RETENTION_FAILPOINTS,
        payment::FAILPOINTS,
        payment::RETENTION_FAILPOINTS,
    ];
    failpoint::Plan::parse(text, &known.concat()).map_err(Takes)
}

pub fn token(text: &str) -> Result<String, Takes> {
    let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible
        .then(|| text.to_owned())
        .ok_or_else(|| Takes::text("one or more visible ASCII characters"))
}

pub fn product_id(text: &str) -> Result<String, Takes> {
    is_product_id(text)
        .then(|| text.to_owned())
        .ok_or_else(|| Takes::text("a product of 1 to 255 characters"))
}

pub fn database_url(text: &str) -> Result<DatabaseUrl, Takes> {
    text.parse().map_err(|error| {
        Takes(format!(
            "postgres://user:password@host:port/name\
             ?sslmode=disable|prefer|require|verify-ca|verify-full ({error})"
        ))
    })
}

pub fn base_url(text: &str) -> Result<BaseUrl, Takes> {
    text.parse().map_err(|error| {
        Takes(format!(
            "an address such as http://127.0.0.1:5001 ({error})"
        ))
    })
}

/// An address for a link on the dashboard. Other schemes than http and https are rejected, so that
/// no link can run a script.
pub fn http_url(text: &str) -> Result<String, Takes> {
    let is_http = url::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    is_http
        .then(|| text.to_owned())
        .ok_or_else(|| Takes::text("an address, such as http://localhost:3030"))
}

pub fn trace_url(text: &str) -> Result<String, Takes> {
    let url = http_url(text).ok().filter(|url| url.contains("{trace_id}"));
    url.ok_or_else(|| {
        Takes::text(
            "an address with {trace_id} in it, such as http://localhost:16686/trace/{trace_id}",
        )
    })
}

/// Returns the origin as a browser sends it: in lower case, without the default port of its scheme.
pub fn origin(text: &str) -> Result<String, Takes> {
    let takes = || Takes::text("origins such as http://localhost:5001, separated by commas");
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

pub fn host_name(text: &str) -> Result<String, Takes> {
    let text = text.trim();
    let host = url::Host::parse(text).ok().filter(|_| !text.contains('*'));
    host.map(|host| host.to_string()).ok_or_else(|| {
        Takes::text("host names without a port, such as valerix.example, separated by commas")
    })
}

/// An empty value counts as not set, as OpenTelemetry requires.
#[derive(Debug, Clone)]
pub struct OtlpEndpoint(pub Option<String>);

pub fn otlp_endpoint(text: &str) -> Result<OtlpEndpoint, Takes> {
    if text.is_empty() {
        return Ok(OtlpEndpoint(None));
    }
    let takes = || {
        Takes::text("host:port, http://host:port or https://host:port, such as otel-collector:4317")
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(takes());
    }
    // Except for its scheme, it has the form of a service's address.
    let url: BaseUrl = format!("http://{rest}").parse().map_err(|_| takes())?;
    Ok(OtlpEndpoint(Some(
        url.to_string().replacen("http", &scheme, 1),
    )))
}

pub fn otlp_protocol(text: &str) -> Result<Protocol, Takes> {
    match text {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err(Takes::text("grpc or http/protobuf")),
    }
}

pub fn otlp_certificate(path: &str) -> Result<Certificates, Takes> {
    Certificates::read(path.as_ref())
        .map_err(|error| Takes(format!("a file of certificates in PEM form ({error})")))
}

/// Reads log levels by module. An empty value counts as not set.
pub fn log_filter(text: &str) -> Result<Targets, Takes> {
    let takes = |cause: &str| {
        Takes(format!(
            "tracing directives, such as info or valerix=debug,info ({cause})"
        ))
    };
    let mut directives: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    if directives.is_empty() {
        directives.push(DEFAULT_LOG_FILTER);
    }
    // `Targets` would read these as something else than the user meant.
    let is_unsupported =
        |directive: &&&str| directive.contains(['[', '{', ' ', '"']) || directive.ends_with('=');
    if let Some(directive) = directives.iter().find(is_unsupported) {
        return Err(takes(&format!(
            "'{directive}' is not one; spans and fields are not supported"
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
    fn origins_are_normalized_to_what_browsers_send() {
        for (text, normalized) in [
            ("http://shop.example", "http://shop.example"),
            (" https://Shop.Example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://[::1]:5001", "http://[::1]:5001"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(normalized), "{text}");
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
    fn host_names_are_accepted_without_a_port_only() {
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
    fn log_filters_may_have_spaces_and_empty_parts_but_no_spans() {
        let default = log_filter(DEFAULT_LOG_FILTER).unwrap();
        for text in [
            "",
            " ",
            "info, actix_server=warn",
            "info,actix_server=warn,",
        ] {
            assert_eq!(log_filter(text), Ok(default.clone()), "{text:?}");
        }
        for unsupported in [
            "valerix[request]=debug",
            "valerix=",
            "info actix_server=warn",
            "[{order_id}]=debug",
        ] {
            let error = log_filter(unsupported).unwrap_err().to_string();
            assert!(error.contains("is not one"), "{error}");
        }
    }
}
