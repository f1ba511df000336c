//! The response to a call to another service, or why there is none.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde::de::DeserializeOwned;

use crate::platform::http::problem::Problem;

/// The header by which a response says that the route also takes batches, of at most this many
/// calls.
pub const MAX_BATCH_SIZE_HEADER: HeaderName = HeaderName::from_static("x-max-batch-size");

/// Why a call has no usable response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The service never received the request.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// The service may or may not have handled the request, or may still do so.
    #[error("no response in time")]
    TimedOut,
    /// The connection or the batch ended before the response did. As with `TimedOut`, the service
    /// may or may not have handled the request.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// The circuit breaker or the bulkhead rejected the call. No request was sent.
    #[error("rejected: {0}")]
    Rejected(&'static str),
    /// The response does not have the expected form, so the outcome is unknown.
    #[error("unusable response: {0}")]
    Unusable(String),
}

/// The response of another service.
pub struct Response {
    pub status: StatusCode,
    /// The largest batch that the route takes, if the response says so.
    pub max_batch_size: Option<usize>,
    pub(super) body: Vec<u8>,
}

impl Response {
    #[must_use]
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self {
            status,
            max_batch_size: None,
            body,
        }
    }

    /// Returns the response that the gremlin injects in place of a call.
    #[must_use]
    pub fn injected(status: StatusCode) -> Self {
        Self::new(status, br#"{"code":"injected-fault"}"#.to_vec())
    }

    /// Whether this is a 503 after which the request certainly has no effect, now or later. A 503
    /// without a problem document comes from a proxy, which cannot know that.
    #[must_use]
    pub fn guarantees_no_effect(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self
                .code()
                .is_some_and(|code| code != Problem::OUTCOME_UNKNOWN)
    }

    /// Whether the service works, but another database session holds a lock that the request needs.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.code().as_deref() == Some(Problem::LOCKED)
    }

    /// Returns the code of the problem document in the body.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct ProblemCode {
            code: String,
        }
        serde_json::from_slice::<ProblemCode>(&self.body)
            .ok()
            .map(|problem| problem.code)
    }

    /// Parses the body.
    ///
    /// # Errors
    /// [`CallError::Unusable`] when the body is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| CallError::Unusable(format!("{}: {error}", self.status)))
    }
}
