//! The service level of the last 30 s: one histogram for each second, the oldest one dropped as time goes on.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub const WINDOW_SECONDS: u64 = 30;
pub const THRESHOLD_MS: u64 = 1000;
/// Slower requests count as this slow; the service's own deadlines end a request long before.
const SLOWEST: Duration = Duration::from_secs(60);

/// `GET /sla`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sla {
    pub window_seconds: u64,
    pub requests: u64,
    pub average_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub threshold_ms: u64,
    /// `green`, or `red` when the average is above the threshold.
    #[schema(example = "green")]
    pub status: String,
}

struct Second {
    number: u64,
    total: Duration,
    micros: Histogram<u32>,
}

/// The window itself, shared by the process's workers.
pub struct Window {
    started: Instant,
    seconds: Mutex<VecDeque<Second>>,
}

impl Default for Window {
    fn default() -> Self {
        Self { started: Instant::now(), seconds: Mutex::default() }
    }
}

impl Window {
    pub fn record(&self, took: Duration) {
        self.record_at(self.started.elapsed().as_secs(), took);
    }

    #[must_use]
    pub fn report(&self) -> Sla {
        self.report_at(self.started.elapsed().as_secs())
    }

    fn record_at(&self, now: u64, took: Duration) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        drop_old(&mut seconds, now);
        if seconds.back().is_none_or(|last| last.number != now) {
            seconds.push_back(Second { number: now, total: Duration::ZERO, micros: histogram() });
        }
        if let Some(second) = seconds.back_mut() {
            let took = took.min(SLOWEST);
            second.total += took;
            second.micros.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        }
    }

    fn report_at(&self, now: u64) -> Sla {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        drop_old(&mut seconds, now);
        let mut all = histogram();
        for second in seconds.iter() {
            // Histograms of one shape always add up.
            let _ = all.add(&second.micros);
        }
        let total: Duration = seconds.iter().map(|second| second.total).sum();
        let requests = all.len();
        #[expect(clippy::cast_precision_loss, reason = "fewer requests in 30 s than 2^52")]
        let average_ms = if requests == 0 { 0.0 } else { total.as_secs_f64() * 1000.0 / requests as f64 };
        let quantile = |q| {
            let micros = if requests == 0 { 0 } else { all.value_at_quantile(q) };
            rounded(Duration::from_micros(micros).as_secs_f64() * 1000.0)
        };
        let red = average_ms > Duration::from_millis(THRESHOLD_MS).as_secs_f64() * 1000.0;
        Sla {
            window_seconds: WINDOW_SECONDS,
            requests,
            average_ms: rounded(average_ms),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            threshold_ms: THRESHOLD_MS,
            status: if red { "red" } else { "green" }.to_owned(),
        }
    }
}

fn drop_old(seconds: &mut VecDeque<Second>, now: u64) {
    while seconds.front().is_some_and(|first| first.number + WINDOW_SECONDS <= now) {
        seconds.pop_front();
    }
}

/// Two significant digits: a quantile is right within 1 %, and a second costs a few kilobytes.
fn histogram() -> Histogram<u32> {
    let most = u64::try_from(SLOWEST.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1, most, 2).expect("constant bounds that the type allows")
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_empty_window_is_green() {
        let report = Window::default().report_at(0);
        assert_eq!((report.requests, report.average_ms, report.status.as_str()), (0, 0.0, "green"));
    }

    #[test]
    fn turns_red_above_the_threshold_and_green_when_the_window_has_passed() {
        let window = Window::default();
        window.record_at(0, ms(1000));
        assert_eq!(window.report_at(0).status, "green", "1 s on average is not above 1 s");
        window.record_at(1, ms(2000));
        assert_eq!((window.report_at(1).status.as_str(), window.report_at(1).average_ms), ("red", 1500.0));
        assert_eq!(window.report_at(29).requests, 2);
        assert_eq!(window.report_at(30).requests, 1, "the first second is out");
        assert_eq!((window.report_at(31).requests, window.report_at(31).status.as_str()), (0, "green"));
    }

    #[test]
    fn quantiles_are_right_within_one_percent() {
        let window = Window::default();
        for n in 1..=1000 {
            window.record_at(n % 20, ms(n));
        }
        let report = window.report_at(20);
        for (quantile, wanted) in [(report.p50_ms, 500.0), (report.p90_ms, 900.0), (report.p99_ms, 990.0)] {
            assert!((quantile - wanted).abs() <= wanted * 0.01, "{quantile} for {wanted}");
        }
    }
}
