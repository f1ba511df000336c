//! How long some requests took: their sum, and a histogram.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Slower requests count as this slow; the service's own deadlines end a request long before.
const SLOWEST: Duration = Duration::from_secs(60);

pub struct Figures {
    total: Duration,
    micros: Histogram<u32>,
}

impl Default for Figures {
    /// Two significant digits: a quantile is right within 1 %, and a second costs a few kilobytes.
    fn default() -> Self {
        let micros = Histogram::new_with_bounds(1, micros_of(SLOWEST), 2);
        Self {
            total: Duration::ZERO,
            micros: micros.expect("constant bounds that the type allows"),
        }
    }
}

impl Figures {
    pub fn record(&mut self, took: Duration) {
        // Whole microseconds, as they are told to other replicas, so that all come to the same
        // average.
        let micros = micros_of(took.min(SLOWEST));
        self.total += Duration::from_micros(micros);
        self.micros.saturating_record(micros.max(1));
    }

    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        // Histograms of one shape always add up.
        let _ = self.micros.add(&other.micros);
    }

    pub fn add_packed(&mut self, other: &Packed) {
        self.total += Duration::from_micros(u64::try_from(other.total_us).unwrap_or_default());
        for (micros, times) in &other.took {
            self.micros
                .saturating_record_n(u64::from(*micros).max(1), *times);
        }
    }

    pub fn requests(&self) -> u64 {
        self.micros.len()
    }

    pub fn average_ms(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "fewer requests than 2^52")]
        let requests = self.requests().max(1) as f64;
        rounded(self.total.as_secs_f64() * 1000.0 / requests)
    }

    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let micros = if self.micros.is_empty() {
            0
        } else {
            self.micros.value_at_quantile(quantile)
        };
        rounded(Duration::from_micros(micros).as_secs_f64() * 1000.0)
    }

    pub fn pack(&self) -> Packed {
        let micros = |value| u32::try_from(value).unwrap_or(u32::MAX);
        Packed {
            total_us: i64::try_from(self.total.as_micros()).unwrap_or(i64::MAX),
            took: self
                .micros
                .iter_recorded()
                .map(|step| (micros(step.value_iterated_to()), step.count_at_value()))
                .collect(),
        }
    }
}

/// The same in little space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub total_us: i64,
    /// So many microseconds, so many times.
    pub took: Vec<(u32, u32)>,
}

fn micros_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_the_same_again() {
        let mut figures = Figures::default();
        for ms in [0, 1, 1, 7, 950, 950, 59_999, 3_600_000] {
            figures.record(Duration::from_millis(ms));
        }
        let mut again = Figures::default();
        again.add_packed(&figures.pack());
        assert_eq!(again.pack(), figures.pack());
        assert_eq!(
            (again.requests(), again.average_ms()),
            (8, figures.average_ms())
        );
        for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
            let both = [&again, &figures].map(|figures| figures.quantile_ms(quantile).to_bits());
            assert_eq!(both[0], both[1], "{quantile}");
        }
    }
}
