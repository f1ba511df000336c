//! Which server may be used, and how long it may take.

use std::time::Duration;

/// The environment variable that names the directory of the server programs to use, where a machine
/// has several versions.
pub const BIN_DIR_VARIABLE: &str = "POSTGRES_BIN_DIR";
pub const START_TIMEOUT: Duration = Duration::from_secs(60);
/// For a fast stop; then the server is stopped without a checkpoint.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
pub const POLL_INTERVAL: Duration = Duration::from_millis(5);
