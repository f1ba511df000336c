//! How a call to another service ended.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde::de::DeserializeOwned;

use crate::platform::http::problem::Problem;

/// On the response to a single call: the service also takes batches of up to this many calls.
pub const MAX_BATCH_SIZE: HeaderName = HeaderName::from_static("x-max-batch-size");

/// Why there is no answer to go by.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The other side never saw the request.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// It may have been carried out or not, now or later.
    #[error("no answer in time")]
    TimedOut,
    /// The same, known sooner.
    #[error("broken off: {0}")]
    BrokenOff(String),
    /// The call was not even begun.
    #[error("not tried: {0}")]
    Rejected(&'static str),
    /// An answer that makes no sense, so that what was done is unknown.
    #[error("unusable answer: {0}")]
    Unusable(String),
}

/// An answer: its status, and its body as it came.
pub struct Answer {
    pub status: StatusCode,
    /// Calls that would be taken together, where the service said so.
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

    /// An answer that nobody sent: the request was not carried out.
    #[must_use]
    pub fn made_up(status: StatusCode) -> Self {
        Self::new(status, br#"{"code":"injected-fault"}"#.to_vec())
    }

    /// A 503 of one of our services: nothing was done, and nothing will be. A 503 without a problem
    /// document comes from something in between, which cannot know.
    #[must_use]
    pub fn promises_nothing_done(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self
                .code()
                .is_some_and(|code| code != Problem::OUTCOME_UNKNOWN)
    }

    /// The service is well, and a lock is held on what this request needs.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.code().as_deref() == Some(Problem::LOCKED)
    }

    /// Of a problem document.
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
    /// When the body is not what the service's contract says.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| CallError::Unusable(format!("{}: {error}", self.status)))
    }
}
