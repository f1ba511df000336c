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

/// Upper bound on the length of a body.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Parses a JSON body.
///
/// # Errors
/// 400 that names every invalid field.
pub fn read_json<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    Fields::from_json(bytes)?.finish()
}

/// Extractor: a JSON body.
pub struct Body<T>(pub T);

impl<T: FromFields> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_body(request, payload, MAX_BODY_BYTES);
        Box::pin(async move { read_json(&body.await?).map(Body) })
    }
}

/// Extractor: a body that is not parsed.
pub struct RawBody(pub Bytes);

impl FromRequest for RawBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_body(request, payload, MAX_BODY_BYTES);
        Box::pin(async move { Ok(Self(body.await?.freeze())) })
    }
}

/// Reads a body to its end.
///
/// # Errors
/// 415 if the body is encoded, 413 if it is longer than `limit` bytes, 400 if it is incomplete, and
/// 408 if it takes longer than [`BODY_TIMEOUT`].
pub fn read_body(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> impl Future<Output = Result<BytesMut, Problem>> + use<> {
    let (checked, payload) = (check_body_headers(request.headers(), limit), payload.take());
    async move {
        checked?;
        read_to_end(payload, limit).await
    }
}

/// Checks the headers of a request that describe its body.
///
/// # Errors
/// 415 if the body is encoded, 413 if it is longer than `limit` bytes.
pub fn check_body_headers(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
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
                .map_err(|error| Problem::malformed("The body is incomplete.").with_cause(error))?;
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

/// Returns the problem of a body that is longer than `limit` bytes.
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
            Fields::from_query(request.query_string())
                .and_then(Fields::finish)
                .map(Query),
        )
    }
}
