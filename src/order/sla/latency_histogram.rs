//! The latencies of requests: their sum and their distribution.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A longer latency counts as this one. The service's own deadlines end a request long before.
const MAX_LATENCY: Duration = Duration::from_secs(60);

pub struct LatencyHistogram {
    total: Duration,
    micros: Histogram<u32>,
}

impl Default for LatencyHistogram {
    /// With two significant digits a percentile is exact within 1 %, and a histogram takes a few
    /// kilobytes.
    fn default() -> Self {
        let micros = Histogram::new_with_bounds(1, as_micros(MAX_LATENCY), 2);
        Self {
            total: Duration::ZERO,
            micros: micros.expect("constant bounds that the type allows"),
        }
    }
}

impl LatencyHistogram {
    pub fn record(&mut self, latency: Duration) {
        // Whole microseconds, as in a packed histogram, so that every replica computes the same
        // average.
        let micros = as_micros(latency.min(MAX_LATENCY));
        self.total += Duration::from_micros(micros);
        self.micros.saturating_record(micros.max(1));
    }

    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        // Histograms with the same bounds always add up.
        let _ = self.micros.add(&other.micros);
    }

    pub fn add_packed(&mut self, other: &PackedHistogram) {
        self.total += Duration::from_micros(u64::try_from(other.total_us).unwrap_or_default());
        for (micros, requests) in &other.counts {
            self.micros
                .saturating_record_n(u64::from(*micros).max(1), *requests);
        }
    }

    pub fn requests(&self) -> u64 {
        self.micros.len()
    }

    /// 0 without requests.
    pub fn average_ms(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "fewer requests than 2^52")]
        let requests = self.requests().max(1) as f64;
        rounded(self.total.as_secs_f64() * 1000.0 / requests)
    }

    /// `quantile` is from 0 to 1. 0 without requests.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let micros = if self.micros.is_empty() {
            0
        } else {
            self.micros.value_at_quantile(quantile)
        };
        rounded(Duration::from_micros(micros).as_secs_f64() * 1000.0)
    }

    pub fn pack(&self) -> PackedHistogram {
        let micros = |value| u32::try_from(value).unwrap_or(u32::MAX);
        let steps = self.micros.iter_recorded();
        PackedHistogram {
            total_us: i64::try_from(self.total.as_micros()).unwrap_or(i64::MAX),
            counts: steps
                .map(|step| (micros(step.value_iterated_to()), step.count_at_value()))
                .collect(),
        }
    }
}

/// A histogram without its empty buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedHistogram {
    /// The sum of the latencies in microseconds.
    pub total_us: i64,
    /// Pairs: a latency in microseconds, and the number of requests with it.
    pub counts: Vec<(u32, u32)>,
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Two decimals.
fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_the_same_after_it_was_packed() {
        let mut histogram = LatencyHistogram::default();
        for ms in [0, 1, 1, 7, 950, 950, 59_999, 3_600_000] {
            histogram.record(Duration::from_millis(ms));
        }
        let mut unpacked = LatencyHistogram::default();
        unpacked.add_packed(&histogram.pack());
        assert_eq!(unpacked.pack(), histogram.pack());
        assert_eq!(
            (unpacked.requests(), unpacked.average_ms()),
            (8, histogram.average_ms())
        );
        for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
            let both = [&unpacked, &histogram].map(|either| either.quantile_ms(quantile).to_bits());
            assert_eq!(both[0], both[1], "{quantile}");
        }
    }
}
