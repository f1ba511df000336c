//! Bundles: calls of one route that a thread makes at the same time go in one request.
//!
//! What an HTTP request costs, it costs whatever is in it; under load many calls to one service are
//! made at once. Each call of a bundle stays a call of its own: with its deadline, its trace, its
//! line in the log, its place in the metrics, its breaker and its retries, and with an answer that
//! is sent as soon as it is there, whatever its neighbours still wait for. Where one of two calls
//! is slow, the other one does not notice.
//!
//! A route takes bundles at its own path with [`SUFFIX`], and says so in each answer to a single
//! call by [`OFFER`]. Who does not say so, as another implementation or an older replica, is sent
//! single calls. While the gremlin is at work, nothing is offered and bundles are refused with 409,
//! so that each of its faults still hits one call.
//!
//! calls: who calls → answers: who answers.

pub mod client;
pub mod server;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::platform::fault_injection::Gremlin;
use crate::platform::observability::metrics::route_of;

/// Added to a route's path.
pub const SUFFIX: &str = "/bundle";
/// On an answer to a single call: bundles of so many calls are taken too.
pub const OFFER: HeaderName = HeaderName::from_static("x-bundle");
pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Calls of one bundle.
pub const MOST: usize = 128;
/// The body of a bundle.
pub const LIMIT_BYTES: usize = 256 * 1024;

/// What is sent.
#[derive(Serialize, Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    calls: Vec<SentCall<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SentCall<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What comes back: one line for each call.
#[derive(Serialize, Deserialize)]
struct Line<B> {
    call: usize,
    status: u16,
    body: B,
}

/// Calls that are made together
#[derive(ToSchema)]
#[schema(as = Bundle)]
#[expect(dead_code, reason = "a description")]
pub struct Described<T: ToSchema> {
    #[schema(min_items = 1, max_items = 128)]
    calls: Vec<DescribedCall<T>>,
}

/// One call of a bundle
#[derive(ToSchema)]
#[schema(as = BundledCall)]
#[expect(dead_code, reason = "a description")]
pub struct DescribedCall<T: ToSchema> {
    /// The caller's trace.
    traceparent: Option<String>,
    /// What other systems noted about it.
    tracestate: Option<String>,
    /// How long the caller will still wait, from the bundle's arrival; 30 s when absent.
    #[schema(minimum = 0, maximum = 3_600_000)]
    deadline_ms: Option<u64>,
    body: T,
}

/// One line of the answer to a bundle
#[derive(ToSchema)]
#[schema(as = BundledAnswer)]
#[expect(dead_code, reason = "a description")]
pub struct DescribedAnswer {
    /// Which call it is about, the first being 0.
    call: usize,
    /// What the call by itself would be answered with.
    status: u16,
    #[schema(value_type = Object)]
    body: (),
}

/// Whether a request is a bundle.
#[must_use]
pub fn carries(request: &ServiceRequest) -> bool {
    request.method() == Method::POST && route_of(request).as_str().ends_with(SUFFIX)
}

/// Middleware of a route that takes bundles: its answers say so.
///
/// # Errors
/// Those of the route.
pub async fn offer<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let calm = request
        .app_data::<web::Data<Gremlin>>()
        .is_none_or(|gremlin| gremlin.is_calm());
    let mut response = next.call(request).await?;
    if calm {
        response
            .headers_mut()
            .insert(OFFER, HeaderValue::from(MOST));
    }
    Ok(response)
}
