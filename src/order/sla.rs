//! The service level of the last 30 s: one histogram for each second, the oldest one dropped as time goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub const WINDOW_SECONDS: u64 = 30;
pub const THRESHOLD_MS: u64 = 1000;
const STEP_SECONDS: u64 = 5;
const HISTORY_STEPS: u64 = 120;
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

/// `GET /sla/history`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    pub step_seconds: u64,
    /// The last 10 minutes, oldest first; a step without requests has zeros.
    pub points: Vec<Point>,
}

/// The requests of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When the step began.
    pub at: DateTime<Utc>,
    pub requests: u64,
    pub average_ms: f64,
    pub p99_ms: f64,
}

struct Second {
    number: u64,
    total: Duration,
    micros: Histogram<u32>,
}

/// The window itself, shared by the process's workers.
pub struct Window {
    started: Instant,
    started_at: DateTime<Utc>,
    seconds: Mutex<VecDeque<Second>>,
    steps: Mutex<VecDeque<Step>>,
}

/// What happened in a step: a sum and a histogram, which is given up for its 99th percentile when the step is over.
struct Step {
    number: u64,
    requests: u64,
    total: Duration,
    p99: Percentile,
}

enum Percentile {
    Open(Histogram<u32>),
    Known(f64),
}

impl Default for Window {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            started_at: Utc::now(),
            seconds: Mutex::default(),
            steps: Mutex::default(),
        }
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

    #[must_use]
    pub fn history(&self) -> History {
        self.history_at(self.started.elapsed().as_secs())
    }

    fn history_at(&self, now: u64) -> History {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let last = now / STEP_SECONDS;
        let first = last.saturating_sub(HISTORY_STEPS - 1);
        let known: HashMap<u64, &Step> = steps.iter().map(|step| (step.number, step)).collect();
        let point = |number: u64| {
            let at = self.started_at + Duration::from_secs(number * STEP_SECONDS);
            known
                .get(&number)
                .map_or(Point { at, requests: 0, average_ms: 0.0, p99_ms: 0.0 }, |step| step.point(at))
        };
        History { step_seconds: STEP_SECONDS, points: (first..=last).map(point).collect() }
    }

    fn record_step(&self, now: u64, took: Duration) {
        let number = now / STEP_SECONDS;
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.back().is_none_or(|last| last.number != number) {
            if let Some(last) = steps.back_mut() {
                last.close();
            }
            steps.push_back(Step {
                number,
                requests: 0,
                total: Duration::ZERO,
                p99: Percentile::Open(histogram()),
            });
        }
        while steps.front().is_some_and(|first| first.number + HISTORY_STEPS <= number) {
            steps.pop_front();
        }
        if let Some(step) = steps.back_mut() {
            step.requests += 1;
            step.total += took;
            if let Percentile::Open(micros) = &mut step.p99 {
                micros.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
            }
        }
    }

    fn record_at(&self, now: u64, took: Duration) {
        self.record_step(now, took.min(SLOWEST));
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
        let average_ms = average_ms(total, requests);
        let quantile = |q| {
            let micros = if requests == 0 { 0 } else { all.value_at_quantile(q) };
            rounded(Duration::from_micros(micros).as_secs_f64() * 1000.0)
        };
        let red = average_ms > Duration::from_millis(THRESHOLD_MS).as_secs_f64() * 1000.0;
        Sla {
            window_seconds: WINDOW_SECONDS,
            requests,
            average_ms,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            threshold_ms: THRESHOLD_MS,
            status: if red { "red" } else { "green" }.to_owned(),
        }
    }
}

impl Step {
    fn close(&mut self) {
        if let Percentile::Open(micros) = &self.p99 {
            self.p99 = Percentile::Known(p99_ms(micros));
        }
    }

    fn point(&self, at: DateTime<Utc>) -> Point {
        let p99_ms = match &self.p99 {
            Percentile::Open(micros) => p99_ms(micros),
            Percentile::Known(ms) => *ms,
        };
        Point { at, requests: self.requests, average_ms: average_ms(self.total, self.requests), p99_ms }
    }
}

fn p99_ms(micros: &Histogram<u32>) -> f64 {
    rounded(Duration::from_micros(micros.value_at_quantile(0.99)).as_secs_f64() * 1000.0)
}

fn average_ms(total: Duration, requests: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "fewer requests than 2^52")]
    let average = if requests == 0 { 0.0 } else { total.as_secs_f64() * 1000.0 / requests as f64 };
    rounded(average)
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
    fn the_history_has_every_step_of_ten_minutes_and_forgets_what_is_older() {
        let window = Window::default();
        window.record_at(0, ms(100));
        window.record_at(4, ms(300));
        window.record_at(12, ms(1000));
        let history = window.history_at(14);
        let told: Vec<_> = history.points.iter().map(|point| (point.requests, point.average_ms)).collect();
        assert_eq!(told, [(2, 200.0), (0, 0.0), (1, 1000.0)]);
        assert!((history.points[0].p99_ms - 300.0).abs() < 3.0, "{history:?}");
        window.record_at(2000, ms(1));
        let later = window.history_at(2001);
        assert_eq!(
            (later.points.len(), later.points.iter().map(|point| point.requests).sum::<u64>()),
            (120, 1)
        );
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
