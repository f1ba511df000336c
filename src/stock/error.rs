//! Why the inventory service did not do what it was asked.

use crate::platform::client::{BaseUrl, CallError};

#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// Nothing was done.
    #[error("{url} does not answer: {cause}; does the inventory service run there?")]
    Unreachable { url: BaseUrl, cause: CallError },
    /// Nothing was done.
    #[error("{url}: {detail}")]
    Rejected { url: BaseUrl, detail: String },
    #[error("{url}: {cause}; it is not known whether the change was made; {repeat}")]
    OutcomeUnknown {
        url: BaseUrl,
        cause: String,
        /// How to repeat the command safely.
        repeat: String,
    },
}
