//! The configuration of a campaign.

use std::path::PathBuf;
use std::time::Duration;

use super::coverage::Goal;

/// After all faults have ended, every order must be settled within this time.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Upper bound on how often a customer or an operator sends a request.
pub const MAX_TRIES: usize = 6;
/// The pause after the nth try is n times this long.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
pub struct Config {
    /// Decides every request and every fault.
    pub seed: u64,
    /// Number of orders to plan. Directed rounds may add some.
    pub orders: u32,
    /// Number of times that a service is killed.
    pub kills: u32,
    /// Number of times that the database is restarted or killed.
    pub database_restarts: u32,
    /// Where the campaign's database is kept. `None`: in a temporary directory that is removed at
    /// the end.
    pub data_dir: Option<PathBuf>,
    /// SQL statements that run before the check. Tests use them to show that the check finds what
    /// the statements break.
    pub tamper: Option<String>,
    /// Only a goal's own directed rounds count for these goals. Tests use this to show that the
    /// rounds reach them.
    pub discounted: Vec<Goal>,
}
