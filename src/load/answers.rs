//! Names of orders without an answer, in the counts by answer.

/// Orders without an answer in time.
pub const NO_ANSWER: &str = "none";
/// Orders whose answer was not awaited, because a stop was requested.
pub const NOT_AWAITED: &str = "broken-off";
