//! How a call to another service ended.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde::de::DeserializeOwned;

use crate::platform::http::problem::Problem;

/// On the response to a single call: the service also takes batches of up to this many calls.
pub const MAX_BATCH_SIZE: HeaderName = HeaderName::from_static("x-max-batch-size");

/// Why a call has no usable response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The service never received the request.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// The service may or may not have handled the request, or may still do so.
    #[error("no response in time")]
    TimedOut,
    /// As for `TimedOut`, but known before the deadline.
    #[error("broken off: {0}")]
    BrokenOff(String),
    /// The call was not started.
    #[error("rejected: {0}")]
    Rejected(&'static str),
    /// The response does not fit the contract, so the outcome is unknown.
    #[error("unusable response: {0}")]
    Unusable(String),
}

/// A response of another service.
pub struct Answer {
    pub status: StatusCode,
    /// The number of calls that the service takes in one batch, if it said so.
    pub max_batch_size: Option<usize>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    #[must_use]
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self {
            status,
            max_batch_size: None,
            body,
        }
    }

    /// Returns a response of the gremlin. The request was not sent.
    #[must_use]
    pub fn injected(status: StatusCode) -> Self {
        Self::new(status, br#"{"code":"injected-fault"}"#.to_vec())
    }

    /// Whether this is a 503 that says that nothing was done and nothing will be. A 503 without a problem
    /// document comes from a proxy, which cannot know.
    #[must_use]
    pub fn promises_nothing_done(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self
                .code()
                .is_some_and(|code| code != Problem::OUTCOME_UNKNOWN)
    }

    /// Whether the service works, and another session holds a lock on what the request needs.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.code().as_deref() == Some(Problem::LOCKED)
    }

    /// Returns the code of a problem document.
    fn code(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Coded {
            code: String,
        }
        serde_json::from_slice::<Coded>(&self.body)
            .ok()
            .map(|coded| coded.code)
    }

    /// # Errors
    /// When the body does not fit the contract of the service.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| CallError::Unusable(format!("{}: {error}", self.status)))
    }
}
