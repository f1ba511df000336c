//! Reads the body or the query of a request field by field, so that one response names every wrong
//! field.
//!
//! A body is read as JSON whatever its Content-Type says. It must have no Content-Encoding, be at most
//! 16 KiB long, and arrive within 5 s.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::problem::{FieldError, Problem};

pub const BODY_LIMIT_BYTES: usize = 16 * 1024;
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A request body or query that can be read from [`Fields`].
pub trait FromFields: Sized + 'static {
    /// Reads every field. Errors are collected in `fields`, which then rejects the request.
    fn from_fields(fields: &mut Fields) -> Self;
}

/// The values of one request by name, and the errors found in them.
pub struct Fields {
    values: Map<String, Value>,
    errors: Vec<FieldError>,
}

/// What a value is expected to be, in words that follow "must be".
type Expected = String;

impl Fields {
    fn of_json(bytes: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(without_bom(bytes)) {
            Ok(Value::Object(values)) => Ok(Self {
                values,
                errors: Vec::new(),
            }),
            Ok(_) => Err(Problem::malformed("The body must be a JSON object.")),
            Err(error) if bytes.is_empty() => Err(Problem::malformed(
                "The body is empty; it must be a JSON object.",
            )
            .with_cause(error)),
            Err(error) => Err(Problem::malformed(format!(
                "The body is not valid JSON: {error}."
            ))),
        }
    }

    fn of_query(query: &str) -> Result<Self, Problem> {
        let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(query)
            .map_err(|error| Problem::malformed(format!("The query cannot be read: {error}.")))?;
        let values = pairs
            .into_inner()
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        Ok(Self {
            values,
            errors: Vec::new(),
        })
    }

    fn finish<T: FromFields>(mut self) -> Result<T, Problem> {
        let value = T::from_fields(&mut self);
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(Problem::invalid(self.errors))
        }
    }

    /// Adds an error, for a rule about more than one field.
    pub fn reject(&mut self, field: &str, detail: impl Into<String>) {
        self.errors.push(FieldError {
            field: field.to_owned(),
            detail: detail.into(),
        });
    }

    /// Whether this field has an error.
    #[must_use]
    pub fn has_error(&self, field: &str) -> bool {
        self.errors.iter().any(|error| error.field == field)
    }

    /// Rejects every field that was not read. Otherwise a misspelt field would be ignored silently.
    pub fn reject_the_rest(&mut self) {
        for name in std::mem::take(&mut self.values)
            .into_iter()
            .map(|(name, _)| name)
        {
            self.reject(&name, "is not a field of this request");
        }
    }

    /// Reads a required field. If it is wrong, the default is returned and the request is rejected.
    pub fn required<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> T {
        let value = self.optional(name, read);
        if value.is_none() && !self.has_error(name) {
            self.reject(name, "is required");
        }
        value.unwrap_or_default()
    }

    /// Reads a field that may be absent or null.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.values.remove(name).filter(|value| !value.is_null())?;
        match read(&value) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.reject(name, format!("must be {expected}"));
                None
            }
        }
    }
}

/// Reads text whose length in characters is in the range. NUL is rejected: PostgreSQL cannot store it.
pub fn text(characters: RangeInclusive<usize>) -> impl FnOnce(&Value) -> Result<String, Expected> {
    move |value| {
        let fits = |text: &&str| characters.contains(&text.chars().count()) && !text.contains('\0');
        value
            .as_str()
            .filter(fits)
            .map(str::to_owned)
            .ok_or_else(|| {
                format!(
                    "text of {} to {} characters, without NUL",
                    characters.start(),
                    characters.end()
                )
            })
    }
}

/// A number type that fits in an `i64`.
pub trait Integer: Copy + PartialOrd + fmt::Display + TryFrom<i64> {}

impl<T: Copy + PartialOrd + fmt::Display + TryFrom<i64>> Integer for T {}

/// Reads a whole number in a range.
pub fn integer<T: Integer>(range: RangeInclusive<T>) -> impl FnOnce(&Value) -> Result<T, Expected> {
    // In JSON, 1 and 1.0 are the same number.
    move |value| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0);
        in_range(number.and_then(whole_i64), &range)
    }
}

/// Reads a whole number in a range from decimal digits, for queries.
pub fn digits<T: Integer>(range: RangeInclusive<T>) -> impl FnOnce(&Value) -> Result<T, Expected> {
    move |value| {
        let number = value.as_str().and_then(|digits| digits.parse().ok());
        in_range(number, &range)
    }
}

fn in_range<T: Integer>(number: Option<i64>, range: &RangeInclusive<T>) -> Result<T, Expected> {
    let number = number.and_then(|number| T::try_from(number).ok());
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

fn whole_i64(number: f64) -> Option<i64> {
    // The whole numbers that a 64-bit float represents exactly.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and inside i64, both checked"
    )]
    (number.abs() <= MAX_EXACT).then_some(number as i64)
}

/// Reads a number from 0 to 1.
pub fn fraction(value: &Value) -> Result<f64, Expected> {
    let fraction = value
        .as_f64()
        .filter(|fraction| (0.0..=1.0).contains(fraction));
    fraction.ok_or_else(|| "a number from 0 to 1".to_owned())
}

pub fn boolean(value: &Value) -> Result<bool, Expected> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

/// Reads `true` or `false` from text, for queries.
pub fn flag(value: &Value) -> Result<bool, Expected> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "true or false".to_owned())
}

/// Reads a time in RFC 3339.
pub fn timestamp(value: &Value) -> Result<DateTime<Utc>, Expected> {
    let moment = value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    moment
        .map(Into::into)
        .ok_or_else(|| "a time such as 2026-01-31T12:00:00Z (RFC 3339)".to_owned())
}

/// Reads a UUID other than the nil UUID.
pub fn uuid(value: &Value) -> Result<Uuid, Expected> {
    value
        .as_str()
        .and_then(|text| Uuid::try_parse(text).ok())
        .filter(|id| !id.is_nil())
        .ok_or_else(|| "a UUID".to_owned())
}

/// Reads an amount of money from 0.01 to 99999999.99 with at most two decimals.
pub fn amount(value: &Value) -> Result<Decimal, Expected> {
    let max = Decimal::new(9_999_999_999, 2);
    value
        .as_number()
        // From its decimal text and not from a binary float, so that 99.99 is exact.
        .and_then(|number| Decimal::from_str(&number.to_string()).ok())
        .filter(|amount| {
            amount.normalize().scale() <= 2 && *amount > Decimal::ZERO && *amount <= max
        })
        .ok_or_else(|| format!("an amount from 0.01 to {max} with at most two decimals"))
}

/// Reads one of a fixed set of names.
pub fn name<T: FromStr>(value: &Value) -> Result<T, Expected>
where
    T::Err: std::fmt::Display,
{
    let text = value.as_str().ok_or_else(|| "text".to_owned())?;
    text.parse()
        .map_err(|error: T::Err| format!("a known name: {error}"))
}

/// Reads a value from a JSON body.
///
/// # Errors
/// 400 that names every wrong field.
pub fn read_json<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    Fields::of_json(bytes)?.finish()
}

/// Extractor: a JSON body.
pub struct Body<T>(pub T);

impl<T: FromFields> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = whole_body(request, payload, BODY_LIMIT_BYTES);
        Box::pin(async move { read_json(&body.await?).map(Body) })
    }
}

/// Extractor: a body that is not parsed.
pub struct RawBody(pub Bytes);

impl FromRequest for RawBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = whole_body(request, payload, BODY_LIMIT_BYTES);
        Box::pin(async move { Ok(Self(body.await?.freeze())) })
    }
}

/// Reads a body to its end.
///
/// # Errors
/// 415 or 413 at once when the head says that the body is encoded or longer than `limit` bytes.
/// Otherwise 413 when it is longer, 400 when it breaks off, 408 when it takes longer than
/// [`BODY_TIMEOUT`].
pub fn whole_body(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> impl Future<Output = Result<BytesMut, Problem>> + use<> {
    let (acceptable, payload) = (check_head(request.headers(), limit), payload.take());
    async move {
        acceptable?;
        read_to_end(payload, limit).await
    }
}

/// Checks what the head of a request says about its body.
///
/// # Errors
/// 415 when the body is encoded, 413 when it is longer than `limit` bytes.
pub fn check_head(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING);
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "The body has a Content-Encoding. Send it without one.";
        let problem = Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-content-encoding",
            detail,
        );
        return Err(problem.with_header("accept-encoding", "identity"));
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large(limit));
    }
    Ok(())
}

/// Some programs put a byte order mark before their JSON. RFC 8259 lets a parser ignore it.
#[must_use]
pub fn without_bom(json: &[u8]) -> &[u8] {
    json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json)
}

async fn read_to_end(mut payload: Payload, limit: usize) -> Result<BytesMut, Problem> {
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk
                .map_err(|error| Problem::malformed("The body broke off.").with_cause(error))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| {
            let detail = format!(
                "The body did not arrive within {} s.",
                BODY_TIMEOUT.as_secs()
            );
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "too-slow",
                detail,
            ))
        })
}

#[must_use]
pub fn too_large(limit: usize) -> Problem {
    let detail = format!("The body is larger than {limit} bytes.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

/// Extractor: the query string.
pub struct Query<T>(pub T);

impl<T: FromFields> FromRequest for Query<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(
            Fields::of_query(request.query_string())
                .and_then(Fields::finish)
                .map(Query),
        )
    }
}

/// Reads a body as a service does. Returns the names of the wrong fields if there are any.
#[cfg(test)]
pub fn read<T: FromFields>(body: &Value) -> Result<T, Vec<String>> {
    let mut fields = Fields::of_json(body.to_string().as_bytes()).unwrap();
    let value = T::from_fields(&mut fields);
    let wrong: Vec<_> = fields.errors.into_iter().map(|error| error.field).collect();
    if wrong.is_empty() {
        Ok(value)
    } else {
        Err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    struct Sample {
        name: String,
        count: i32,
        price: Option<Decimal>,
    }

    impl FromFields for Sample {
        fn from_fields(fields: &mut Fields) -> Self {
            Self {
                name: fields.required("name", text(1..=3)),
                count: fields.required("count", integer(1..=10)),
                price: fields.optional("price", amount),
            }
        }
    }

    fn read(body: &Value) -> Result<Sample, Vec<String>> {
        super::read(body)
    }

    #[test]
    fn every_wrong_field_is_named_once() {
        let wrong = read(&json!({"name": "", "price": 1.005})).unwrap_err();
        assert_eq!(wrong, ["name", "count", "price"]);
    }

    #[test]
    fn lengths_are_counted_in_characters_and_both_limits_hold() {
        assert_eq!(
            read(&json!({"name": "äöü", "count": 10})).unwrap().name,
            "äöü"
        );
        assert!(read(&json!({"name": "abcd", "count": 1})).is_err());
        assert!(read(&json!({"name": "a\u{0}", "count": 1})).is_err());
        for count in [
            json!(0),
            json!(11),
            json!(1.5),
            json!(1e30),
            json!(true),
            json!("5"),
            json!(null),
        ] {
            assert_eq!(
                read(&json!({"name": "a", "count": count})).unwrap_err(),
                ["count"],
                "{count}"
            );
        }
        assert_eq!(read(&json!({"name": "a", "count": 1.0})).unwrap().count, 1);
    }

    #[test]
    fn amounts_are_exact_to_the_cent() {
        let price = |value| {
            read(&json!({"name": "a", "count": 1, "price": value})).map(|sample| sample.price)
        };
        assert_eq!(price(json!(99.99)).unwrap(), Some(Decimal::new(9999, 2)));
        assert_eq!(price(json!(5)).unwrap(), Some(Decimal::new(5, 0)));
        assert_eq!(
            price(json!(99_999_999.99)).unwrap(),
            Some(Decimal::new(9_999_999_999, 2))
        );
        for wrong in [
            json!(0),
            json!(-1),
            json!(0.001),
            json!(100_000_000),
            json!("1.00"),
        ] {
            assert!(price(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
