//! The time between two attempts to finish an order.

use std::time::Duration;

use crate::domain::saga::SagaState;
use crate::order::store::OrderRow;

const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// For a pending order, which is then finished soon after a dependency recovers.
const MAX_PENDING_BACKOFF: Duration = Duration::from_secs(3);
/// For an order that has ended and owes something. It is retried without end.
const MAX_OWED_BACKOFF: Duration = Duration::from_secs(60);
/// Bounds the exponent. `MIN_BACKOFF` doubled this often is longer than any maximum.
const MAX_DOUBLINGS: u32 = 8;

/// When the next attempt follows one that leaves `order` in `state`.
#[must_use]
pub fn retry_after(order: &OrderRow, state: &SagaState) -> Duration {
    let max = if state.is_final() {
        MAX_OWED_BACKOFF
    } else {
        MAX_PENDING_BACKOFF
    };
    full_jitter(order.takeovers_at(state.status), max, rand::random())
}

/// Exponential backoff with full jitter: a random time below a limit that doubles with each
/// takeover, up to `max`. `random` is from 0 to 1.
fn full_jitter(takeovers: i32, max: Duration, random: f64) -> Duration {
    let doublings = u32::try_from(takeovers)
        .unwrap_or_default()
        .min(MAX_DOUBLINGS);
    (MIN_BACKOFF * 2_u32.pow(doublings))
        .min(max)
        .mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_up_to_its_maximum() {
        let limits = |max| {
            (0..10)
                .map(|takeovers| full_jitter(takeovers, max, 1.0).as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            limits(MAX_PENDING_BACKOFF)[..6],
            [250, 500, 1000, 2000, 3000, 3000]
        );
        assert_eq!(
            limits(MAX_OWED_BACKOFF)[6..],
            [16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(
            full_jitter(-1, MAX_OWED_BACKOFF, 1.0),
            Duration::from_millis(250)
        );
    }

    #[test]
    fn the_jitter_covers_the_whole_range() {
        assert_eq!(full_jitter(3, MAX_OWED_BACKOFF, 0.0), Duration::ZERO);
        assert_eq!(
            full_jitter(i32::MAX, MAX_PENDING_BACKOFF, 0.5),
            Duration::from_millis(1500)
        );
    }
}
