//! Extractors of the body and the query.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;

use super::fields::{Fields, FromFields};
use crate::platform::http::problem::Problem;

pub const BODY_LIMIT_BYTES: usize = 16 * 1024;
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);

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
