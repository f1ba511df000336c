//! Durations as statements take them.

use std::time::Duration;

use chrono::TimeDelta;

/// Whole milliseconds, at most those of an SQL `int`: about 24 days.
pub fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The duration as a statement adds it when it is passed [`milliseconds`] of it.
pub fn whole_milliseconds(duration: Duration) -> TimeDelta {
    TimeDelta::milliseconds(milliseconds(duration).into())
}
