//! The configuration of a soak.

use std::path::PathBuf;
use std::time::Duration;

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
