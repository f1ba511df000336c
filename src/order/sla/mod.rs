//! The service level of the last 30 s and 10 minutes, of all replicas together: figures for each
//! second and for each step of 5 s. A replica's own come from its memory; `share` brings those of
//! the others.

mod latency_histogram;
mod replication;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use latency_histogram::{Figures, Packed};
pub use replication::Sharing;

pub const WINDOW_SECONDS: u64 = 30;
pub const THRESHOLD_MS: u64 = 1000;
const STEP_SECONDS: u64 = 5;
const HISTORY_STEPS: u64 = 120;
const HISTORY_SECONDS: u64 = STEP_SECONDS * HISTORY_STEPS;

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
    /// When the step began: a multiple of its length, so that it is the same for every replica.
    pub at: DateTime<Utc>,
    pub requests: u64,
    pub average_ms: f64,
    pub p99_ms: f64,
}

/// The window itself, shared by the process's workers. Seconds are counted as the system does,
/// since 1970, but a clock that is set does not move them.
pub struct Window {
    started: Instant,
    /// Since 1970.
    started_at: Duration,
    state: Mutex<State>,
}

/// Requests of one second that the other replicas do not know of yet.
#[derive(Debug, Clone)]
struct Slice {
    /// Counts on, so that nothing is told twice.
    number: i64,
    second: u64,
    packed: Packed,
}

#[derive(Default)]
struct State {
    /// Own requests since the last slice, and the second that they are of.
    fresh: Option<(u64, Figures)>,
    numbered: i64,
    untold: VecDeque<Slice>,
    /// Own slices and those of others.
    seconds: BTreeMap<u64, Figures>,
    steps: BTreeMap<u64, Step>,
}

/// What happened in a step: once it is over, in little space.
enum Step {
    Open(Figures),
    Closed {
        packed: Packed,
        requests: u64,
        average_ms: f64,
        p99_ms: f64,
    },
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
    pub fn record(&self, took: Duration) {
        self.record_at(self.now().as_secs(), took);
    }

    #[must_use]
    pub fn report(&self) -> Sla {
        self.report_at(self.now().as_secs())
    }

    #[must_use]
    pub fn history(&self) -> History {
        self.history_at(self.now().as_secs())
    }

    fn now(&self) -> Duration {
        self.started_at + self.started.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_at(&self, now: u64, took: Duration) {
        let mut state = self.state();
        if state
            .fresh
            .as_ref()
            .is_some_and(|(second, _)| *second != now)
        {
            state.cut(now);
        }
        let (_, fresh) = state.fresh.get_or_insert_with(|| (now, Figures::default()));
        fresh.record(took);
    }

    fn report_at(&self, now: u64) -> Sla {
        let mut state = self.state();
        state.forget(now);
        let mut all = Figures::default();
        let fresh = state
            .fresh
            .iter()
            .filter(|(second, _)| second + WINDOW_SECONDS > now);
        state
            .seconds
            .values()
            .chain(fresh.map(|(_, figures)| figures))
            .for_each(|figures| all.add(figures));
        drop(state);
        let average_ms = all.average_ms();
        let red = average_ms > Duration::from_millis(THRESHOLD_MS).as_secs_f64() * 1000.0;
        Sla {
            window_seconds: WINDOW_SECONDS,
            requests: all.requests(),
            average_ms,
            p50_ms: all.quantile_ms(0.5),
            p90_ms: all.quantile_ms(0.9),
            p99_ms: all.quantile_ms(0.99),
            threshold_ms: THRESHOLD_MS,
            status: if red { "red" } else { "green" }.to_owned(),
        }
    }

    fn history_at(&self, now: u64) -> History {
        let mut state = self.state();
        state.forget(now);
        let last = now / STEP_SECONDS;
        let first = (last + 1).saturating_sub(HISTORY_STEPS);
        let point = |number: u64| {
            let at = DateTime::from(UNIX_EPOCH + Duration::from_secs(number * STEP_SECONDS));
            let (requests, average_ms, p99_ms) = state.in_step(number);
            Point {
                at,
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

    /// What the others do not know yet, the oldest first, so many slices at the most.
    fn untold(&self, most: usize) -> Vec<Slice> {
        let mut state = self.state();
        state.cut(self.now().as_secs());
        state.untold.iter().take(most).cloned().collect()
    }

    /// Everything up to this number is known to the others.
    fn told(&self, number: i64) {
        let mut state = self.state();
        while state
            .untold
            .front()
            .is_some_and(|slice| slice.number <= number)
        {
            state.untold.pop_front();
        }
    }

    /// Another replica's requests of so long before then.
    fn hear(&self, now: Duration, age: Duration, packed: &Packed) {
        let mut figures = Figures::default();
        figures.add_packed(packed);
        self.state()
            .add(now.as_secs(), now.saturating_sub(age).as_secs(), &figures);
    }
}

impl State {
    /// Makes a slice of what is fresh.
    fn cut(&mut self, now: u64) {
        if let Some((second, figures)) = self.fresh.take() {
            self.numbered += 1;
            self.untold.push_back(Slice {
                number: self.numbered,
                second,
                packed: figures.pack(),
            });
            self.add(now, second, &figures);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: u64) {
        while self
            .seconds
            .first_key_value()
            .is_some_and(|(second, _)| second + WINDOW_SECONDS <= now)
        {
            self.seconds.pop_first();
        }
        while self
            .untold
            .front()
            .is_some_and(|slice| slice.second + HISTORY_SECONDS <= now)
        {
            self.untold.pop_front();
        }
        let this_step = now / STEP_SECONDS;
        while self
            .steps
            .first_key_value()
            .is_some_and(|(number, _)| number + HISTORY_STEPS <= this_step)
        {
            self.steps.pop_first();
        }
        self.steps
            .range_mut(..this_step)
            .for_each(|(_, step)| step.close());
    }

    fn add(&mut self, now: u64, second: u64, figures: &Figures) {
        if second + WINDOW_SECONDS > now {
            self.seconds.entry(second).or_default().add(figures);
        }
        let step = self.steps.entry(second / STEP_SECONDS);
        let step = step.or_insert_with(|| Step::Open(Figures::default()));
        let mut all = step.figures();
        all.add(figures);
        *step = Step::Open(all);
    }

    /// Requests of a step, their average and their 99th percentile.
    fn in_step(&self, number: u64) -> (u64, f64, f64) {
        let step = self.steps.get(&number);
        let fresh = self
            .fresh
            .as_ref()
            .filter(|(second, _)| second / STEP_SECONDS == number);
        match (step, fresh) {
            (None, None) => (0, 0.0, 0.0),
            (Some(step), None) => step.told(),
            (None, Some((_, fresh))) => told(fresh),
            (Some(step), Some((_, fresh))) => {
                let mut all = step.figures();
                all.add(fresh);
                told(&all)
            }
        }
    }
}

impl Step {
    fn figures(&self) -> Figures {
        let mut all = Figures::default();
        match self {
            Self::Open(figures) => all.add(figures),
            Self::Closed { packed, .. } => all.add_packed(packed),
        }
        all
    }

    fn close(&mut self) {
        let Self::Open(all) = self else { return };
        let (requests, average_ms, p99_ms) = told(all);
        *self = Self::Closed {
            packed: all.pack(),
            requests,
            average_ms,
            p99_ms,
        };
    }

    fn told(&self) -> (u64, f64, f64) {
        match self {
            Self::Open(all) => told(all),
            Self::Closed {
                requests,
                average_ms,
                p99_ms,
                ..
            } => (*requests, *average_ms, *p99_ms),
        }
    }
}

fn told(figures: &Figures) -> (u64, f64, f64) {
    (
        figures.requests(),
        figures.average_ms(),
        figures.quantile_ms(0.99),
    )
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
        assert_eq!(
            (report.requests, report.average_ms, report.status.as_str()),
            (0, 0.0, "green")
        );
    }

    #[test]
    fn turns_red_above_the_threshold_and_green_when_the_window_has_passed() {
        let window = Window::default();
        window.record_at(0, ms(1000));
        assert_eq!(
            window.report_at(0).status,
            "green",
            "1 s on average is not above 1 s"
        );
        window.record_at(1, ms(2000));
        assert_eq!(
            (
                window.report_at(1).status.as_str(),
                window.report_at(1).average_ms
            ),
            ("red", 1500.0)
        );
        assert_eq!(window.report_at(29).requests, 2);
        assert_eq!(window.report_at(30).requests, 1, "the first second is out");
        assert_eq!(
            (
                window.report_at(31).requests,
                window.report_at(31).status.as_str()
            ),
            (0, "green")
        );
    }

    #[test]
    fn the_history_has_every_step_of_ten_minutes_and_forgets_what_is_older() {
        let window = Window::default();
        window.record_at(0, ms(100));
        window.record_at(4, ms(300));
        window.record_at(12, ms(1000));
        let history = window.history_at(14);
        let told: Vec<_> = history
            .points
            .iter()
            .map(|point| (point.requests, point.average_ms))
            .collect();
        assert_eq!(told, [(2, 200.0), (0, 0.0), (1, 1000.0)]);
        assert!(
            (history.points[0].p99_ms - 300.0).abs() < 3.0,
            "{history:?}"
        );
        window.record_at(2000, ms(1));
        let later = window.history_at(2001);
        assert_eq!(
            (
                later.points.len(),
                later.points.iter().map(|point| point.requests).sum::<u64>()
            ),
            (120, 1)
        );
    }

    #[test]
    fn quantiles_are_right_within_one_percent() {
        let window = Window::default();
        for n in 1..=1000 {
            window.record_at(n / 50, ms(n));
        }
        let report = window.report_at(20);
        for (quantile, wanted) in [
            (report.p50_ms, 500.0),
            (report.p90_ms, 900.0),
            (report.p99_ms, 990.0),
        ] {
            assert!(
                (quantile - wanted).abs() <= wanted * 0.01,
                "{quantile} for {wanted}"
            );
        }
    }

    #[test]
    fn what_others_tell_counts_in_the_second_and_step_that_it_was_of_however_late_it_comes() {
        let (here, elsewhere) = (Window::default(), Window::default());
        here.record_at(100, ms(100));
        elsewhere.record_at(98, ms(300));
        elsewhere.record_at(98, ms(500));
        let told: Vec<_> = {
            let mut state = elsewhere.state();
            state.cut(100);
            state.untold.drain(..).collect()
        };
        assert_eq!(
            told.len(),
            1,
            "one second is one slice when nobody asks in between"
        );
        here.hear(
            Duration::from_secs(100),
            Duration::from_millis(1500),
            &told[0].packed,
        );
        let report = here.report_at(100);
        assert_eq!((report.requests, report.average_ms), (3, 300.0));
        assert_eq!(here.report_at(128).requests, 1, "second 98 is out");
        // The step of second 98 was closed long ago.
        here.hear(
            Duration::from_secs(300),
            Duration::from_secs(202),
            &told[0].packed,
        );
        assert_eq!(here.report_at(300).requests, 0);
        let points = here.history_at(300).points;
        assert_eq!(points[points.len() - 42].requests, 4, "{points:?}");
        assert!((points[points.len() - 42].p99_ms - 500.0).abs() < 5.0);
    }

    #[test]
    fn what_could_not_be_told_waits_in_order_and_not_for_ever() {
        let window = Window::default();
        let now = window.now().as_secs();
        for second in 0..900 {
            window.record_at(now - 899 + second, ms(1));
        }
        let untold = window.untold(10_000);
        let waits = usize::try_from(HISTORY_SECONDS).unwrap();
        assert!(
            untold.len() <= waits && untold.len() > waits - 3,
            "{}",
            untold.len()
        );
        assert!(untold.is_sorted_by_key(|slice| slice.number));
        window.told(untold[9].number);
        assert_eq!(window.untold(1)[0].number, untold[10].number);
    }
}
