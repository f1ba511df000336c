//! A circuit breaker and a retry budget, as small machines that are told the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Calls of the last so long are judged.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer calls than this say nothing.
const FEWEST_CALLS: usize = 10;
/// More are not remembered: the newest say enough.
const MOST_CALLS: usize = 100;
/// How long a breaker stays open: doubles while probes fail, and bounds how late a return is
/// noticed.
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
    /// Raised with each change of phase.
    generation: u64,
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

/// What a call that was let through shows when it has ended. From a phase that is over it tells
/// nothing new: calls that were under way when the breaker opened must neither pass for the probe
/// nor open it once more.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Pass(u64);

impl Default for Breaker {
    fn default() -> Self {
        Self {
            phase: Phase::Closed,
            generation: 0,
            calls: VecDeque::new(),
            pause: FIRST_PAUSE,
        }
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

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }

    /// A pass for a call, if it may go out now. Whoever gets one must tell how the call ended, or
    /// that it was given up.
    pub fn admit(&mut self, now: Instant) -> Option<Pass> {
        match self.phase {
            Phase::Closed => {}
            Phase::Open { until } if now >= until => self.enter(Phase::Probing),
            Phase::Open { .. } | Phase::Probing => return None,
        }
        Some(Pass(self.generation))
    }

    /// A call has ended that may not open the breaker. It counts only as a probe.
    pub fn record_probe(&mut self, pass: Pass, now: Instant, good: bool) {
        if matches!(self.phase, Phase::Probing) {
            self.record(pass, now, good);
        }
    }

    /// A call has ended.
    pub fn record(&mut self, pass: Pass, now: Instant, good: bool) {
        if pass.0 != self.generation {
            return;
        }
        match (self.phase, good) {
            (Phase::Probing, true) => {
                self.calls.clear();
                self.pause = FIRST_PAUSE;
                self.enter(Phase::Closed);
            }
            (Phase::Probing, false) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.enter(Phase::Open {
                    until: now + self.pause,
                });
            }
            // Nobody is let through.
            (Phase::Open { .. }, _) => {}
            (Phase::Closed, _) => {
                self.calls.push_back((now, good));
                while self.calls.len() > MOST_CALLS
                    || self
                        .calls
                        .front()
                        .is_some_and(|(ended, _)| *ended + WINDOW < now)
                {
                    self.calls.pop_front();
                }
                let bad = self.calls.iter().filter(|(_, good)| !good).count();
                // Never by a good call: it shows that the dependency is there, whatever it was
                // before.
                if !good && self.calls.len() >= FEWEST_CALLS && bad * 2 >= self.calls.len() {
                    self.enter(Phase::Open {
                        until: now + self.pause,
                    });
                }
            }
        }
    }

    /// A call was given up before it ended: where it was the probe, the next one may probe at once.
    pub fn abandon(&mut self, pass: Pass, now: Instant) {
        if pass.0 == self.generation && matches!(self.phase, Phase::Probing) {
            self.enter(Phase::Open { until: now });
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
        Self {
            tenths: MOST_TENTHS,
        }
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

    /// A call that went out and ended at that moment.
    fn call(breaker: &mut Breaker, at: Instant, good: bool) {
        let pass = breaker.admit(at).expect("it is let through");
        breaker.record(pass, at, good);
    }

    fn opened(start: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FEWEST_CALLS {
            call(&mut breaker, start, false);
        }
        assert_eq!(breaker.state(start), State::Open);
        breaker
    }

    #[test]
    fn opens_at_half_of_enough_calls_and_not_before() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for number in 0..FEWEST_CALLS - 1 {
            call(&mut breaker, after(start, number as u64), false);
            assert_eq!(breaker.state(start), State::Closed, "after {number} calls");
        }
        call(&mut breaker, start, true);
        assert_eq!(
            breaker.state(start),
            State::Closed,
            "a good call opens nothing"
        );
        call(&mut breaker, start, false);
        assert_eq!(breaker.state(start), State::Open);

        let mut mostly_good = Breaker::default();
        for number in 0..50 {
            call(&mut mostly_good, start, number % 5 != 0);
        }
        assert_eq!(mostly_good.state(start), State::Closed);
    }

    #[test]
    fn a_single_slow_customer_after_another_does_not_open_it() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for number in 0..30 {
            call(&mut breaker, after(start, number * 2000), false);
        }
        assert_eq!(breaker.state(after(start, 60_000)), State::Closed);
    }

    #[test]
    fn lets_one_probe_through_and_closes_when_it_is_good() {
        let start = Instant::now();
        let mut breaker = opened(start);
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
    fn stays_open_longer_while_probes_fail_but_never_past_the_cap() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let mut now = start;
        for pause in [1000, 2000, 3000, 3000] {
            assert!(breaker.admit(after(now, pause - 1)).is_none(), "{pause}");
            now = after(now, pause);
            call(&mut breaker, now, false);
        }
        now = after(now, 3000);
        call(&mut breaker, now, true);
        for _ in 0..FEWEST_CALLS {
            call(&mut breaker, now, false);
        }
        assert!(
            breaker.admit(after(now, 1000)).is_some(),
            "once it was closed, the pause is short again"
        );
    }

    #[test]
    fn calls_that_may_not_open_it_can_still_close_it() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..5 * FEWEST_CALLS {
            let pass = breaker.admit(start).unwrap();
            breaker.record_probe(pass, start, false);
        }
        assert_eq!(breaker.state(start), State::Closed);
        call(&mut breaker, start, false);
        assert_eq!(
            breaker.state(start),
            State::Closed,
            "nor do they count towards its opening"
        );

        let mut breaker = opened(start);
        let failed = breaker.admit(after(start, 1000)).unwrap();
        breaker.record_probe(failed, after(start, 1000), false);
        assert_eq!(breaker.state(after(start, 1000)), State::Open);
        let probe = breaker.admit(after(start, 3000)).unwrap();
        breaker.record_probe(probe, after(start, 3000), true);
        assert_eq!(breaker.state(after(start, 3000)), State::Closed);
    }

    #[test]
    fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let probe = breaker.admit(after(start, 1000)).unwrap();
        breaker.abandon(probe, after(start, 1001));
        assert!(breaker.admit(after(start, 1001)).is_some());
    }

    #[test]
    fn what_was_sent_before_it_opened_tells_nothing_new() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        let early: Vec<_> = (0..20).map(|_| breaker.admit(start).unwrap()).collect();
        for pass in &early[..FEWEST_CALLS] {
            breaker.record(*pass, after(start, 10), false);
        }
        assert_eq!(breaker.state(after(start, 10)), State::Open);
        breaker.record(early[10], after(start, 20), true);
        assert_eq!(
            breaker.state(after(start, 20)),
            State::Open,
            "a late good one does not close it"
        );
        let probe = breaker.admit(after(start, 1010)).unwrap();
        breaker.record(early[11], after(start, 1020), false);
        breaker.record(early[12], after(start, 1020), true);
        breaker.abandon(early[13], after(start, 1020));
        assert!(
            breaker.admit(after(start, 1020)).is_none(),
            "none of them passes for the probe"
        );
        breaker.record(probe, after(start, 1030), true);
        for pass in &early[14..] {
            breaker.record(*pass, after(start, 1040), false);
        }
        for _ in 0..FEWEST_CALLS - 6 {
            call(&mut breaker, after(start, 1050), false);
        }
        assert_eq!(
            breaker.state(after(start, 1050)),
            State::Closed,
            "nor counts once it is closed again"
        );
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
