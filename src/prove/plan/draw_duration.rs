//! Draws a duration.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

pub fn draw_duration(random: &mut StdRng, min_ms: u64, max_ms: u64) -> Duration {
    Duration::from_millis(random.random_range(min_ms..=max_ms))
}
