//! A circuit breaker as a state machine. The time is an argument of its methods.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Only calls that ended within this time count towards opening.
const WINDOW: Duration = Duration::from_secs(10);
/// With fewer calls in the window the breaker never opens.
const MIN_CALLS: usize = 10;
/// At most this many calls of the window count: the newest ones.
const MAX_CALLS: usize = 100;
/// How long the breaker stays open at first. The time doubles with each probe that fails.
const MIN_OPEN_TIME: Duration = Duration::from_secs(1);
/// Upper bound on the open time, and so on the time until the breaker notices that the dependency
/// works again.
const MAX_OPEN_TIME: Duration = Duration::from_secs(3);

/// The state of a circuit breaker at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Every call is admitted.
    Closed,
    /// One call at a time is admitted, as a probe.
    HalfOpen,
    /// No call is admitted.
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

/// Opens when a call fails and at least half of the recent calls failed. The caller decides which
/// calls count as failed.
#[derive(Debug)]
pub struct CircuitBreaker {
    phase: Phase,
    /// Incremented by each change of phase.
    generation: u64,
    /// When each recent call ended, and whether it succeeded.
    calls: VecDeque<(Instant, bool)>,
    open_time: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    Probing,
}

/// Identifies the phase in which a call was admitted. Results of calls from an earlier phase are
/// ignored: a call that was in progress when the breaker opened is not the probe, and must not open
/// the breaker again.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Ticket(u64);

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            phase: Phase::Closed,
            generation: 0,
            calls: VecDeque::new(),
            open_time: MIN_OPEN_TIME,
        }
    }
}

impl CircuitBreaker {
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open,
            Phase::Open { .. } | Phase::Probing => State::HalfOpen,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }

    /// Returns a ticket if a call is admitted now. The caller must later pass it to
    /// [`record`](Self::record), [`record_probe`](Self::record_probe) or
    /// [`abandon`](Self::abandon).
    pub fn admit(&mut self, now: Instant) -> Option<Ticket> {
        match self.phase {
            Phase::Closed => {}
            Phase::Open { until } if now >= until => self.enter(Phase::Probing),
            Phase::Open { .. } | Phase::Probing => return None,
        }
        Some(Ticket(self.generation))
    }

    /// Records the result of a call that must not open a closed breaker: it counts only if the call
    /// is the probe.
    pub fn record_probe(&mut self, ticket: Ticket, now: Instant, succeeded: bool) {
        if matches!(self.phase, Phase::Probing) {
            self.record(ticket, now, succeeded);
        }
    }

    /// Records the result of a call.
    pub fn record(&mut self, ticket: Ticket, now: Instant, succeeded: bool) {
        if ticket.0 != self.generation {
            return;
        }
        match (self.phase, succeeded) {
            (Phase::Probing, true) => {
                self.calls.clear();
                self.open_time = MIN_OPEN_TIME;
                self.enter(Phase::Closed);
            }
            (Phase::Probing, false) => {
                self.open_time = (self.open_time * 2).min(MAX_OPEN_TIME);
                self.enter(Phase::Open {
                    until: now + self.open_time,
                });
            }
            // An open breaker admits no call.
            (Phase::Open { .. }, _) => {}
            (Phase::Closed, _) => {
                self.calls.push_back((now, succeeded));
                while self.calls.len() > MAX_CALLS
                    || self
                        .calls
                        .front()
                        .is_some_and(|(ended, _)| *ended + WINDOW < now)
                {
                    self.calls.pop_front();
                }
                let failures = self
                    .calls
                    .iter()
                    .filter(|(_, succeeded)| !succeeded)
                    .count();
                // A successful call never opens the breaker: the dependency works now.
                if !succeeded && self.calls.len() >= MIN_CALLS && failures * 2 >= self.calls.len() {
                    self.enter(Phase::Open {
                        until: now + self.open_time,
                    });
                }
            }
        }
    }

    /// Ends a call without a result. If it was the probe, the next call may probe at once.
    pub fn abandon(&mut self, ticket: Ticket, now: Instant) {
        if ticket.0 == self.generation && matches!(self.phase, Phase::Probing) {
            self.enter(Phase::Open { until: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    /// Admits a call and records its result at the same moment.
    fn call(breaker: &mut CircuitBreaker, at: Instant, succeeded: bool) {
        let ticket = breaker.admit(at).expect("the call is admitted");
        breaker.record(ticket, at, succeeded);
    }

    fn open_breaker(start: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..MIN_CALLS {
            call(&mut breaker, start, false);
        }
        assert_eq!(breaker.state(start), State::Open);
        breaker
    }

    #[test]
    fn opens_when_half_of_at_least_ten_calls_failed() {
        let start = Instant::now();
        let mut breaker = CircuitBreaker::default();
        for number in 0..MIN_CALLS - 1 {
            call(&mut breaker, after(start, number as u64), false);
            assert_eq!(breaker.state(start), State::Closed, "after {number} calls");
        }
        call(&mut breaker, start, true);
        assert_eq!(
            breaker.state(start),
            State::Closed,
            "a successful call never opens it"
        );
        call(&mut breaker, start, false);
        assert_eq!(breaker.state(start), State::Open);

        let mut mostly_successful = CircuitBreaker::default();
        for number in 0..50 {
            call(&mut mostly_successful, start, number % 5 != 0);
        }
        assert_eq!(mostly_successful.state(start), State::Closed);
    }

    #[test]
    fn failures_that_leave_the_window_do_not_open_it() {
        let start = Instant::now();
        let mut breaker = CircuitBreaker::default();
        for number in 0..30 {
            call(&mut breaker, after(start, number * 2000), false);
        }
        assert_eq!(breaker.state(after(start, 60_000)), State::Closed);
    }

    #[test]
    fn admits_one_probe_and_closes_when_it_succeeds() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        assert!(breaker.admit(after(start, 999)).is_none());
        let probe = breaker.admit(after(start, 1000)).unwrap();
        assert!(
            breaker.admit(after(start, 1000)).is_none(),
            "one probe at a time"
        );
        breaker.record(probe, after(start, 1100), true);
        assert_eq!(breaker.state(after(start, 1100)), State::Closed);
        assert!(breaker.admit(after(start, 1100)).is_some());
    }

    #[test]
    fn open_time_doubles_while_probes_fail_up_to_its_maximum() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let mut now = start;
        for pause in [1000, 2000, 3000, 3000] {
            assert!(breaker.admit(after(now, pause - 1)).is_none(), "{pause}");
            now = after(now, pause);
            call(&mut breaker, now, false);
        }
        now = after(now, 3000);
        call(&mut breaker, now, true);
        for _ in 0..MIN_CALLS {
            call(&mut breaker, now, false);
        }
        assert!(
            breaker.admit(after(now, 1000)).is_some(),
            "closing resets the open time"
        );
    }

    #[test]
    fn a_call_that_must_not_open_the_breaker_can_close_it_as_a_probe() {
        let start = Instant::now();
        let mut breaker = CircuitBreaker::default();
        for _ in 0..5 * MIN_CALLS {
            let ticket = breaker.admit(start).unwrap();
            breaker.record_probe(ticket, start, false);
        }
        assert_eq!(breaker.state(start), State::Closed);
        call(&mut breaker, start, false);
        assert_eq!(
            breaker.state(start),
            State::Closed,
            "results of record_probe do not count towards opening"
        );

        let mut breaker = open_breaker(start);
        let failed = breaker.admit(after(start, 1000)).unwrap();
        breaker.record_probe(failed, after(start, 1000), false);
        assert_eq!(breaker.state(after(start, 1000)), State::Open);
        let probe = breaker.admit(after(start, 3000)).unwrap();
        breaker.record_probe(probe, after(start, 3000), true);
        assert_eq!(breaker.state(after(start, 3000)), State::Closed);
    }

    #[test]
    fn after_an_abandoned_probe_the_next_call_may_probe() {
        let start = Instant::now();
        let mut breaker = open_breaker(start);
        let probe = breaker.admit(after(start, 1000)).unwrap();
        breaker.abandon(probe, after(start, 1001));
        assert!(breaker.admit(after(start, 1001)).is_some());
    }

    #[test]
    fn results_from_an_earlier_phase_are_ignored() {
        let start = Instant::now();
        let mut breaker = CircuitBreaker::default();
        let early: Vec<_> = (0..20).map(|_| breaker.admit(start).unwrap()).collect();
        for ticket in &early[..MIN_CALLS] {
            breaker.record(*ticket, after(start, 10), false);
        }
        assert_eq!(breaker.state(after(start, 10)), State::Open);
        breaker.record(early[10], after(start, 20), true);
        assert_eq!(
            breaker.state(after(start, 20)),
            State::Open,
            "the late success of an earlier call does not close it"
        );
        let probe = breaker.admit(after(start, 1010)).unwrap();
        breaker.record(early[11], after(start, 1020), false);
        breaker.record(early[12], after(start, 1020), true);
        breaker.abandon(early[13], after(start, 1020));
        assert!(
            breaker.admit(after(start, 1020)).is_none(),
            "no earlier call counts as the probe"
        );
        breaker.record(probe, after(start, 1030), true);
        for ticket in &early[14..] {
            breaker.record(*ticket, after(start, 1040), false);
        }
        for _ in 0..MIN_CALLS - 6 {
            call(&mut breaker, after(start, 1050), false);
        }
        assert_eq!(
            breaker.state(after(start, 1050)),
            State::Closed,
            "earlier calls do not count after it has closed"
        );
    }
}
