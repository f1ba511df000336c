//! The current time as text.

use chrono::{SecondsFormat, Utc};

/// Returns the current time in UTC in the format of RFC 3339, with milliseconds.
#[must_use]
pub fn timestamp() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
