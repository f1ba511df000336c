//! Several measurements of one value, as their median and range.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// All three are NaN if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(sorted.len() / 2));
        Self {
            median,
            min: at(0),
            max: at(last),
        }
    }
}

/// Writes `median (min..max)` with the precision of the format, as in `{:.2}`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(
            f,
            "{:.digits$} ({:.digits$}..{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts, ticks and kilobytes of a benchmark stay far below 2^52"
)]
pub const fn to_f64(count: u64) -> f64 {
    count as f64
}
