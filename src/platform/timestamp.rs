//! The current time as text.

use chrono::{SecondsFormat, Utc};

/// Now, in RFC 3339 UTC with milliseconds.
#[must_use]
pub fn timestamp() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
