//! `Idempotency-Key`: a request that is sent again gets the order of the first one. A unique index
//! on the key guarantees that, across replicas and restarts.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;

use super::store::{KeyedOrder, OrderRow};
use crate::api::PlaceOrder;
use crate::platform::http::problem::{FieldError, Problem};

pub const HEADER: &str = "idempotency-key";
/// The header of a response to a request whose key was used before.
pub const REPLAYED_HEADER: &str = "idempotency-replayed";
const MAX_KEY_LENGTH: usize = 255;

/// Why a header is no key: the `detail` of the problem's field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("must come once")]
    Repeated,
    #[error("must be visible ASCII")]
    NotText,
    #[error("must be visible ASCII, without control characters")]
    NotVisible,
    #[error("must have 1 to {MAX_KEY_LENGTH} characters")]
    Length,
    #[error("must escape nothing but quotes and backslashes")]
    Escape,
    #[error("must end with its closing quote")]
    AfterQuote,
    #[error("must have a closing quote")]
    Unclosed,
}

impl From<InvalidKey> for Problem {
    fn from(error: InvalidKey) -> Self {
        Self::invalid(vec![FieldError {
            field: HEADER.to_owned(),
            detail: error.to_string(),
        }])
    }
}

/// The request's key, if it has one.
///
/// # Errors
/// When the header comes twice or is no key.
pub fn key_from(headers: &HeaderMap) -> Result<Option<String>, InvalidKey> {
    let mut values = headers.get_all(HEADER);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(InvalidKey::Repeated);
    }
    parse(value.as_bytes()).map(Some)
}

/// Reads a key: bare, or a string in double quotes with `\"` and `\\` as its escapes (RFC 9651).
///
/// # Errors
/// When it is not such a text, is too long, or is empty.
pub fn parse(value: &[u8]) -> Result<String, InvalidKey> {
    let text = std::str::from_utf8(value)
        .map_err(|_| InvalidKey::NotText)?
        .trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest)?,
        None => text.to_owned(),
    };
    if key.is_empty() || key.len() > MAX_KEY_LENGTH {
        return Err(InvalidKey::Length);
    }
    if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(InvalidKey::NotVisible);
    }
    Ok(key)
}

/// The key before the closing quote.
fn unquote(text: &str) -> Result<String, InvalidKey> {
    let mut key = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(key),
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(InvalidKey::Escape),
            },
            Some('"') => return Err(InvalidKey::AfterQuote),
            Some(character) => key.push(character),
            None => return Err(InvalidKey::Unclosed),
        }
    }
}

/// Checks that a request repeats the one that placed the key's order, and returns the order as it
/// is now. A client that got a 202 learns this way how the order has ended. A client that got a
/// 201 gets the order as it was then, also after the order was cancelled or fulfilled.
///
/// # Errors
/// `idempotency-key-reused` (422) when the body differs, `idempotency-key-in-flight` (409) while
/// the first request is in progress.
pub fn check_replay(keyed: KeyedOrder, body: &PlaceOrder) -> Result<OrderRow, Problem> {
    let KeyedOrder {
        order,
        in_flight,
        confirmed_at,
    } = keyed;
    if order.product_id != body.product_id || order.quantity != body.quantity {
        let detail = "This idempotency key was used with another body.";
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            detail,
        );
        return Err(problem.with_order_id(order.id));
    }
    if in_flight {
        let detail = "The request with this idempotency key is still in progress.";
        return Err(
            Problem::new(StatusCode::CONFLICT, "idempotency-key-in-flight", detail)
                .with_order_id(order.id)
                .with_retry_after(1),
        );
    }
    Ok(match confirmed_at {
        Some(at) => order.confirmed(at),
        None => order,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_bare_or_quoted() {
        for (value, key) in [
            ("abc", "abc"),
            ("  abc ", "abc"),
            ("\"abc\"", "abc"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
            ),
        ] {
            assert_eq!(parse(value.as_bytes()).as_deref(), Ok(key));
        }
        assert!(parse("x".repeat(255).as_bytes()).is_ok());
    }

    #[test]
    fn other_texts_are_no_keys() {
        let long = "x".repeat(256);
        for value in [
            "", "  ", "\"\"", "\"abc", "\"a\"b\"", r#""a\n""#, "\"abc\\", "a\tb", "a\u{7f}", "ü",
            &long,
        ] {
            assert!(parse(value.as_bytes()).is_err(), "{value:?}");
        }
        assert!(parse(&[0xff, 0xfe]).is_err());
    }
}
