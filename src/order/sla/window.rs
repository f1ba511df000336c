//! The requests of the last 30 s, by second, and of the last 10 minutes, by steps of 5 s.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::DateTime;

use super::latency_histogram::{LatencyHistogram, PackedHistogram};
use super::report::{History, Point, Sla};
use super::step::{Step, Summary};

#[cfg(test)]
mod tests;

const WINDOW_SECONDS: u64 = 30;
const THRESHOLD_MS: u64 = 1000;
const STEP_SECONDS: u64 = 5;
const HISTORY_STEPS: u64 = 120;
pub const HISTORY_SECONDS: u64 = STEP_SECONDS * HISTORY_STEPS;

/// One for the process, shared by its worker threads.
///
/// Seconds are counted from 1970, by a clock that was read at the start. Setting the system's clock
/// later does not move them.
pub struct Window {
    started: Instant,
    /// When the window was created, since 1970.
    started_at: Duration,
    state: Mutex<State>,
}

/// The replica's own requests of one second, to be reported to the other replicas.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Counts the slices of this replica from 1.
    pub number: i64,
    pub second: u64,
    pub packed: PackedHistogram,
}

#[derive(Default)]
struct State {
    /// The replica's own requests since the last slice, and their second.
    current: Option<(u64, LatencyHistogram)>,
    last_number: i64,
    /// Slices that are not reported yet, oldest first.
    pending: VecDeque<Slice>,
    /// The slices of all replicas.
    seconds: BTreeMap<u64, LatencyHistogram>,
    steps: BTreeMap<u64, Step>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            state: Mutex::default(),
        }
    }
}

impl Window {
    pub fn record(&self, latency: Duration) {
        self.record_at(self.now().as_secs(), latency);
    }

    #[must_use]
    pub fn report(&self) -> Sla {
        self.report_at(self.now().as_secs())
    }

    #[must_use]
    pub fn history(&self) -> History {
        self.history_at(self.now().as_secs())
    }

    /// The time since 1970.
    pub fn now(&self) -> Duration {
        self.started_at + self.started.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_at(&self, now: u64, latency: Duration) {
        let mut state = self.state();
        let current = state.current.as_ref();
        if current.is_some_and(|(second, _)| *second != now) {
            state.cut_slice(now);
        }
        let current = state
            .current
            .get_or_insert_with(|| (now, LatencyHistogram::default()));
        current.1.record(latency);
    }

    fn report_at(&self, now: u64) -> Sla {
        let mut state = self.state();
        state.forget_old(now);
        let mut all = LatencyHistogram::default();
        let current = state.current.iter();
        let current = current.filter(|(second, _)| second + WINDOW_SECONDS > now);
        let current = current.map(|(_, histogram)| histogram);
        for histogram in state.seconds.values().chain(current) {
            all.add(histogram);
        }
        drop(state);
        let average_ms = all.average_ms();
        let threshold_ms = Duration::from_millis(THRESHOLD_MS).as_secs_f64() * 1000.0;
        let status = if average_ms > threshold_ms {
            "red"
        } else {
            "green"
        };
        Sla {
            window_seconds: WINDOW_SECONDS,
            requests: all.requests(),
            average_ms,
            p50_ms: all.quantile_ms(0.5),
            p90_ms: all.quantile_ms(0.9),
            p99_ms: all.quantile_ms(0.99),
            threshold_ms: THRESHOLD_MS,
            status: status.to_owned(),
        }
    }

    fn history_at(&self, now: u64) -> History {
        let mut state = self.state();
        state.forget_old(now);
        let last = now / STEP_SECONDS;
        let first = (last + 1).saturating_sub(HISTORY_STEPS);
        let point = |number: u64| {
            let Summary {
                requests,
                average_ms,
                p99_ms,
            } = state.summary_of(number);
            Point {
                at: DateTime::from(UNIX_EPOCH + Duration::from_secs(number * STEP_SECONDS)),
                requests,
                average_ms,
                p99_ms,
            }
        };
        History {
            step_seconds: STEP_SECONDS,
            points: (first..=last).map(point).collect(),
        }
    }

    /// The oldest slices that are not reported yet, at most `max`.
    pub fn pending(&self, max: usize) -> Vec<Slice> {
        let mut state = self.state();
        state.cut_slice(self.now().as_secs());
        state.pending.iter().take(max).cloned().collect()
    }

    /// Forgets the pending slices up to this number, which are reported now.
    pub fn ack(&self, number: i64) {
        let mut state = self.state();
        let is_reported = |slice: &Slice| slice.number <= number;
        while state.pending.front().is_some_and(is_reported) {
            state.pending.pop_front();
        }
    }

    /// Adds another replica's requests, which ended `age` before `now`.
    pub fn merge(&self, now: Duration, age: Duration, packed: &PackedHistogram) {
        let mut histogram = LatencyHistogram::default();
        histogram.add_packed(packed);
        let second = now.saturating_sub(age).as_secs();
        self.state().add(now.as_secs(), second, &histogram);
    }
}

impl State {
    /// Makes a slice of the current requests, if there are any.
    fn cut_slice(&mut self, now: u64) {
        if let Some((second, histogram)) = self.current.take() {
            self.last_number += 1;
            self.pending.push_back(Slice {
                number: self.last_number,
                second,
                packed: histogram.pack(),
            });
            self.add(now, second, &histogram);
        }
        self.forget_old(now);
    }

    /// Forgets what is older than the window or the history, and closes the steps that are over.
    fn forget_old(&mut self, now: u64) {
        let is_out = |second: u64| second + WINDOW_SECONDS <= now;
        while self
            .seconds
            .keys()
            .next()
            .is_some_and(|second| is_out(*second))
        {
            self.seconds.pop_first();
        }
        let is_out = |slice: &Slice| slice.second + HISTORY_SECONDS <= now;
        while self.pending.front().is_some_and(is_out) {
            self.pending.pop_front();
        }
        let this_step = now / STEP_SECONDS;
        let is_out = |number: u64| number + HISTORY_STEPS <= this_step;
        while self
            .steps
            .keys()
            .next()
            .is_some_and(|number| is_out(*number))
        {
            self.steps.pop_first();
        }
        for (_, step) in self.steps.range_mut(..this_step) {
            step.close();
        }
    }

    fn add(&mut self, now: u64, second: u64, histogram: &LatencyHistogram) {
        if second + WINDOW_SECONDS > now {
            self.seconds.entry(second).or_default().add(histogram);
        }
        let step = self.steps.entry(second / STEP_SECONDS).or_default();
        step.add(histogram);
    }

    /// Of a step's slices and current requests.
    fn summary_of(&self, number: u64) -> Summary {
        let step = self.steps.get(&number);
        let current = self.current.as_ref();
        let current = current.filter(|(second, _)| second / STEP_SECONDS == number);
        match (step, current) {
            (None, None) => Summary::default(),
            (Some(step), None) => step.summary(),
            (None, Some((_, current))) => Summary::of(current),
            (Some(step), Some((_, current))) => {
                let mut all = step.histogram();
                all.add(current);
                Summary::of(&all)
            }
        }
    }
}
