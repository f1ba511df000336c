//! Durations as statements take them.

use std::time::Duration;

/// Whole milliseconds, at most those of an SQL `int`: about 24 days.
pub fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
