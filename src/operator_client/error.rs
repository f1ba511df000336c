//! The errors of the commands for operators.

use crate::platform::client::{BaseUrl, CallError};
use crate::platform::output::printable;

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Nothing was done.
    #[error("{url} does not answer: {}; does the {service} service run there?",
            printable(&cause.to_string()))]
    Unreachable {
        url: BaseUrl,
        service: &'static str,
        cause: CallError,
    },
    /// Nothing was done.
    #[error("{url}: {}", printable(detail))]
    Rejected { url: BaseUrl, detail: String },
    #[error(
        "{url}: {}; it is not known whether the change was made; {advice}",
        printable(cause)
    )]
    OutcomeUnknown {
        url: BaseUrl,
        cause: String,
        /// Tells the user how to find out, or how to repeat the command safely.
        advice: String,
    },
}
