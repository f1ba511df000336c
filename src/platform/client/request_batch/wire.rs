//! The JSON of request batches, and its OpenAPI schemas.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Upper bound on the calls in one batch.
pub const MAX_CALLS: usize = 128;
/// Upper bound on the body of a batch.
pub const MAX_BATCH_BODY_BYTES: usize = 256 * 1024;

/// The body of a batch.
#[derive(Serialize, Deserialize)]
pub(super) struct BatchBody<'a> {
    #[serde(borrow)]
    pub(super) calls: Vec<BatchCall<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct BatchCall<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline_at: Option<u64>,
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
}

/// One line of the response to a batch: the response to one call.
#[derive(Serialize, Deserialize)]
pub(super) struct ResponseLine<B> {
    pub(super) call: usize,
    pub(super) status: u16,
    pub(super) body: B,
}

/// A batch of calls
#[derive(ToSchema)]
#[schema(as = Batch)]
#[expect(dead_code, reason = "describes JSON for OpenAPI")]
pub struct BatchSchema<T: ToSchema> {
    #[schema(min_items = 1, max_items = 128)]
    calls: Vec<BatchCallSchema<T>>,
}

/// One call of a batch
#[derive(ToSchema)]
#[schema(as = BatchCall)]
#[expect(dead_code, reason = "describes JSON for OpenAPI")]
pub struct BatchCallSchema<T: ToSchema> {
    /// The caller's position in its trace (W3C Trace Context).
    traceparent: Option<String>,
    /// The data of other tracing systems (W3C Trace Context).
    tracestate: Option<String>,
    /// How many milliseconds after the arrival of the batch the caller stops waiting; 30000 when
    /// absent.
    #[schema(minimum = 0, maximum = 3_600_000)]
    deadline_ms: Option<u64>,
    /// When the caller stops waiting, by its clock: milliseconds since 1970. A call that arrives
    /// more than an hour later is refused.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    deadline_at: Option<u64>,
    body: T,
}

/// One line of the response to a batch
#[derive(ToSchema)]
#[schema(as = BatchResponseLine)]
#[expect(dead_code, reason = "describes JSON for OpenAPI")]
pub struct ResponseLineSchema {
    /// The index of the call that this line responds to; the first is 0.
    call: usize,
    /// The HTTP status of the response to this call.
    status: u16,
    /// The body that the response to a single call would have.
    #[schema(value_type = Object)]
    body: (),
}
