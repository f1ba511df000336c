//! Why a service's gremlin did not do what it was asked.

use crate::platform::client::{BaseUrl, CallError};

#[derive(Debug, thiserror::Error)]
pub enum GremlinError {
    #[error("{url} does not answer: {cause}")]
    Unreachable { url: BaseUrl, cause: CallError },
    #[error("{url}: {detail}")]
    Rejected { url: BaseUrl, detail: String },
}
