//! A circuit breaker and a retry budget, as small machines that are told the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Calls of the last so long are judged.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer calls than this say nothing.
const FEWEST_CALLS: usize = 10;
/// More are not remembered: the newest say enough.
const MOST_CALLS: usize = 100;
/// How long a breaker stays open: doubles while probes fail, and bounds how late a return is noticed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed,
    /// One call at a time is let through, to see.
    HalfOpen,
    /// No call is let through.
    Open,
}

impl State {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// Opens with a call that failed or was slow, when half of the recent ones did or were.
#[derive(Debug)]
pub struct Breaker {
    phase: Phase,
    /// When each recent call ended, and whether it was good.
    calls: VecDeque<(Instant, bool)>,
    pause: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    Probing,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { phase: Phase::Closed, calls: VecDeque::new(), pause: FIRST_PAUSE }
    }
}

impl Breaker {
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open,
            Phase::Open { .. } | Phase::Probing => State::HalfOpen,
        }
    }

    /// Whether a call may go out now. Who gets `true` must tell how it ended, or that it was given up.
    pub fn admit(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed => true,
            Phase::Open { until } if now >= until => {
                self.phase = Phase::Probing;
                true
            }
            Phase::Open { .. } | Phase::Probing => false,
        }
    }

    /// A call has ended.
    pub fn record(&mut self, now: Instant, good: bool) {
        match (self.phase, good) {
            (Phase::Probing, true) => *self = Self::default(),
            (Phase::Probing, false) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.phase = Phase::Open { until: now + self.pause };
            }
            // A call that was sent before it opened tells nothing new.
            (Phase::Open { .. }, _) => {}
            (Phase::Closed, _) => {
                self.calls.push_back((now, good));
                while self.calls.len() > MOST_CALLS
                    || self.calls.front().is_some_and(|(ended, _)| *ended + WINDOW < now)
                {
                    self.calls.pop_front();
                }
                let bad = self.calls.iter().filter(|(_, good)| !good).count();
                // Never by a good call: it shows that the dependency is there, whatever it was before.
                if !good && self.calls.len() >= FEWEST_CALLS && bad * 2 >= self.calls.len() {
                    self.phase = Phase::Open { until: now + self.pause };
                }
            }
        }
    }

    /// An admitted call was given up before it ended: the next one may probe at once.
    pub fn abandon(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Probing) {
            self.phase = Phase::Open { until: now };
        }
    }
}

/// Lets retries be a tenth of the calls at most, so that they never multiply an overload.
#[derive(Debug)]
pub struct RetryBudget {
    tenths: u32,
}

const MOST_TENTHS: u32 = 100;

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tenths: MOST_TENTHS }
    }
}

impl RetryBudget {
    /// A call went out: a tenth of a retry is earned.
    pub fn deposit(&mut self) {
        self.tenths = (self.tenths + 1).min(MOST_TENTHS);
    }

    /// Takes one retry, if there is one.
    pub fn withdraw(&mut self) -> bool {
        let left = self.tenths.checked_sub(10);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    fn opened(start: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FEWEST_CALLS {
            assert!(breaker.admit(start));
            breaker.record(start, false);
        }
        assert_eq!(breaker.state(start), State::Open);
        breaker
    }

    #[test]
    fn opens_at_half_of_enough_calls_and_not_before() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for call in 0..FEWEST_CALLS - 1 {
            breaker.record(after(start, call as u64), false);
            assert_eq!(breaker.state(start), State::Closed, "after {call} calls");
        }
        breaker.record(start, true);
        assert_eq!(breaker.state(start), State::Closed, "a good call opens nothing");
        breaker.record(start, false);
        assert_eq!(breaker.state(start), State::Open);

        let mut mostly_good = Breaker::default();
        for call in 0..50 {
            mostly_good.record(start, call % 5 != 0);
        }
        assert_eq!(mostly_good.state(start), State::Closed);
    }

    #[test]
    fn a_single_slow_customer_after_another_does_not_open_it() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for call in 0..30 {
            breaker.record(after(start, call * 2000), false);
        }
        assert_eq!(breaker.state(after(start, 60_000)), State::Closed);
    }

    #[test]
    fn lets_one_probe_through_and_closes_when_it_is_good() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert!(!breaker.admit(after(start, 999)));
        assert!(breaker.admit(after(start, 1000)));
        assert!(!breaker.admit(after(start, 1000)), "one probe at a time");
        breaker.record(after(start, 1100), true);
        assert_eq!(breaker.state(after(start, 1100)), State::Closed);
        assert!(breaker.admit(after(start, 1100)));
    }

    #[test]
    fn stays_open_longer_while_probes_fail_but_never_past_the_cap() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let mut now = start;
        for pause in [1000, 2000, 3000, 3000] {
            assert!(!breaker.admit(after(now, pause - 1)), "{pause}");
            now = after(now, pause);
            assert!(breaker.admit(now), "{pause}");
            breaker.record(now, false);
        }
    }

    #[test]
    fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert!(breaker.admit(after(start, 1000)));
        breaker.abandon(after(start, 1001));
        assert!(breaker.admit(after(start, 1001)));
    }

    #[test]
    fn late_answers_do_not_close_an_open_breaker() {
        let start = Instant::now();
        let mut breaker = opened(start);
        breaker.record(after(start, 10), true);
        assert_eq!(breaker.state(after(start, 10)), State::Open);
    }

    #[test]
    fn retries_are_a_tenth_of_the_calls_in_the_long_run() {
        let mut budget = RetryBudget::default();
        let saved = (0..100).filter(|_| budget.withdraw()).count();
        assert_eq!(saved, 10, "what was saved up in calm");
        let earned = (0..1000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(earned.count(), 100);
    }
}
