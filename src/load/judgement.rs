//! Whether a rate kept a limit.

use std::fmt;

use serde::Serialize;

/// Whether the orders of one rate kept a limit.
#[derive(Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The flag that sets the limit, without its dashes.
    pub threshold: &'static str,
    /// Orders per second that were due.
    pub rate: u32,
    pub kept: bool,
    /// The measurement, compared with the limit.
    pub found: String,
}

/// As in `✓    100/s  p99 12.30 ms, within --max-p99-ms 200`.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.kept { '✓' } else { '✗' };
        write!(f, "{mark} {:>6}/s  {}", self.rate, self.found)
    }
}
