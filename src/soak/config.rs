//! The configuration of a soak.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::min_duration_of_trend;
use crate::platform::plural::{count, is_or_are};

/// After the last fault, every order must be settled within this time.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Config {
    pub duration: Duration,
    /// Orders per second.
    pub rate: u32,
    /// From one sample to the next; at least 3 s.
    pub sample_interval: Duration,
    /// Where the soak's database is kept. `None`: in a temporary directory that is removed at the
    /// end.
    pub data_dir: Option<PathBuf>,
    /// Whether to show a progress bar.
    pub progress: bool,
}

impl Config {
    /// Says so if the soak is likely too short for a verdict.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let minimum = min_duration_of_trend(self.sample_interval);
        let minutes = minimum.as_secs().div_ceil(60);
        (self.duration < minimum).then(|| {
            format!(
                "soak: {} s are likely too short for a trend, and the soak may end inconclusive; \
                 with a sample every {} s, {} {} enough",
                self.duration.as_secs(),
                self.sample_interval.as_secs(),
                count(minutes, "minute"),
                is_or_are(minutes)
            )
        })
    }
}
