//! Bearer tokens (RFC 6750).

use actix_web::http::header::{self, HeaderMap};
use subtle::ConstantTimeEq;

/// Whether the headers contain this bearer token. Compares in constant time.
#[must_use]
pub fn has_bearer_token(headers: &HeaderMap, token: &str) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    sent.is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes())))
}
