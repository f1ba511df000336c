//! The shortest time for which orders are kept.

use std::time::Duration;

use crate::domain::retention::MIN_RETENTION;
use crate::platform::deadline::MAX_LATENESS;

const DAY_SECONDS: u64 = 86_400;

// While a service still takes a message about an order, the order is kept. The rest of the day is a
// margin for clocks that differ, and for a process that stalls after it took the message.
const _: () = assert!(MIN_RETENTION.as_secs() >= 12 * MAX_LATENESS.as_secs());

/// The shortest retention if idempotency keys are kept for `key_ttl`. A key is deleted with its
/// order, so the order is kept for at least as long.
#[must_use]
pub fn min_retention_days(key_ttl: Duration) -> u32 {
    let seconds = key_ttl.max(MIN_RETENTION).as_secs();
    u32::try_from(seconds.div_ceil(DAY_SECONDS)).unwrap_or(u32::MAX)
}

/// The limits of the requests for steps of retention, and their defaults.
#[derive(Debug, Clone, Copy)]
pub struct RetentionLimits {
    /// The age where a request names none; `None` if there is no such setting.
    pub days: Option<u32>,
    /// How long the idempotency key of a settled order is kept.
    pub key_ttl: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_kept_for_at_least_a_day_and_as_long_as_its_key() {
        for (key_ttl, days) in [(1, 1), (86_400, 1), (86_401, 2), (864_000, 10)] {
            let key_ttl = Duration::from_secs(key_ttl);
            assert_eq!(min_retention_days(key_ttl), days, "{key_ttl:?}");
        }
    }
}
