//! Deadlines: how long the caller of a service waits. A service passes its own deadlines on in the
//! calls that it makes.

use std::future::{Ready, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::http::problem::{FieldError, Problem};

/// The header that says for how many milliseconds the caller still waits.
pub const DEADLINE_HEADER: &str = "x-deadline-ms";
/// The header that says when the caller's deadline is, by the caller's clock: milliseconds since
/// 1970. Unlike [`DEADLINE_HEADER`], it shows how late a request arrives.
pub const DEADLINE_AT_HEADER: &str = "x-deadline-at";
/// A request that arrives longer than this after its deadline is refused: its order may have been
/// deleted since. Far above the difference of the clocks of two machines.
pub const MAX_LATENESS: Duration = Duration::from_secs(3600);

/// The deadline of a request that has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_DEADLINE_MS: u64 = 3_600_000;
/// Every number up to this one is exact in JavaScript.
const MAX_DEADLINE_AT: u64 = 9_007_199_254_740_991;

/// The point in time after which the caller no longer waits for the response.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    instant: Instant,
    /// The same by this machine's clock, for calls that may arrive late. Taken when the deadline is
    /// made, not when a call is sent: a process that stalls in between must not gain time.
    at: SystemTime,
}

impl Deadline {
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        ArrivalTime::now().plus(duration)
    }

    /// Returns the earlier of two deadlines.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            instant: self.instant.min(other.instant),
            at: self.at.min(other.at),
        }
    }

    /// Returns this deadline with the clock time of `earlier`, if that is earlier. So the calls of
    /// an attempt carry a time from before its order was taken over, however long the process
    /// stalls afterwards.
    #[must_use]
    pub fn dated_by(self, earlier: Self) -> Self {
        Self {
            at: self.at.min(earlier.at),
            ..self
        }
    }

    /// Returns the later of two deadlines.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            instant: self.instant.max(other.instant),
            at: self.at.max(other.at),
        }
    }

    /// Returns the deadline this many milliseconds after the arrival of the request, or 30 s after
    /// it for `None`. `at` is the deadline by the caller's clock, in milliseconds since 1970.
    /// `names` are the fields or headers that hold the two numbers.
    ///
    /// # Errors
    /// 400 when a number is too large: the deadline can be at most one hour after the arrival. 503
    /// `deadline-passed` when `at` is more than [`MAX_LATENESS`] ago.
    pub fn of_caller(
        names: [&str; 2],
        arrived: ArrivalTime,
        milliseconds: Option<u64>,
        at: Option<u64>,
    ) -> Result<Self, Problem> {
        if milliseconds.is_some_and(|milliseconds| milliseconds > MAX_DEADLINE_MS) {
            return Err(invalid(names[0]));
        }
        if at.is_some_and(|at| at > MAX_DEADLINE_AT) {
            return Err(invalid_at(names[1]));
        }
        if at.is_some_and(is_too_late) {
            return Err(too_late());
        }
        Ok(arrived.plus(milliseconds.map_or(DEFAULT_TIMEOUT, Duration::from_millis)))
    }

    /// Returns the point in time this long before the deadline.
    #[must_use]
    pub fn earlier_by(self, duration: Duration) -> tokio::time::Instant {
        let earlier = self.instant.checked_sub(duration);
        tokio::time::Instant::from_std(earlier.unwrap_or(self.instant))
    }

    /// Returns the remaining time; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.instant.saturating_duration_since(Instant::now())
    }

    /// Returns the deadline by this machine's clock, in milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        unix_millis(self.at)
    }

    /// Checks that the deadline has not passed. Must be called before a transaction starts, because
    /// a caller whose deadline has passed treats the outcome as unknown.
    ///
    /// # Errors
    /// `deadline-passed` (503) when the deadline has passed.
    pub fn check(self) -> Result<(), Problem> {
        if self.remaining() == Duration::ZERO {
            let detail = "The deadline of the caller passed before the work was started.";
            return Err(
                Problem::unavailable("deadline-passed", detail).with_cause("deadline passed")
            );
        }
        Ok(())
    }
}

/// When a request arrived, before the gremlin or a queue could delay it.
#[derive(Clone, Copy)]
pub struct ArrivalTime {
    instant: Instant,
    at: SystemTime,
}

impl ArrivalTime {
    #[must_use]
    pub fn now() -> Self {
        // In this order, so that a stall in between makes the clock time earlier, and never later.
        let at = SystemTime::now();
        Self {
            instant: Instant::now(),
            at,
        }
    }

    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.instant.elapsed()
    }

    fn plus(self, duration: Duration) -> Deadline {
        Deadline {
            instant: self.instant + duration,
            at: self.at + duration,
        }
    }
}

fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a deadline passed more than [`MAX_LATENESS`] ago. Both times are in milliseconds since
/// 1970, by the clocks of two machines.
fn is_too_late(at: u64) -> bool {
    let late = unix_millis(SystemTime::now()).saturating_sub(at);
    u128::from(late) > MAX_LATENESS.as_millis()
}

fn too_late() -> Problem {
    let detail = "The request arrived more than an hour after its deadline, or the clocks of the \
                  two machines differ by that much. Nothing was done.";
    Problem::unavailable("deadline-passed", detail).with_cause("more than an hour late")
}

/// Extractor: the caller's deadline, counted from the request's arrival.
impl FromRequest for Deadline {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let arrived = request
            .extensions()
            .get::<ArrivalTime>()
            .copied()
            .unwrap_or_else(ArrivalTime::now);
        ready(from_headers(request.headers(), arrived))
    }
}

fn from_headers(headers: &HeaderMap, arrived: ArrivalTime) -> Result<Deadline, Problem> {
    let milliseconds = number_in(headers, DEADLINE_HEADER, invalid)?;
    let at = number_in(headers, DEADLINE_AT_HEADER, invalid_at)?;
    let names = [DEADLINE_HEADER, DEADLINE_AT_HEADER];
    Deadline::of_caller(names, arrived, milliseconds, at)
}

fn number_in(
    headers: &HeaderMap,
    name: &str,
    problem: fn(&str) -> Problem,
) -> Result<Option<u64>, Problem> {
    let number = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    let value = headers.get(name);
    value
        .map(|value| number(value).ok_or_else(|| problem(name)))
        .transpose()
}

fn invalid(name: &str) -> Problem {
    rejected(
        name,
        format!("must be milliseconds from 0 to {MAX_DEADLINE_MS}"),
    )
}

fn invalid_at(name: &str) -> Problem {
    rejected(
        name,
        format!("must be milliseconds since 1970, up to {MAX_DEADLINE_AT}"),
    )
}

fn rejected(name: &str, detail: String) -> Problem {
    Problem::invalid(vec![FieldError {
        field: name.to_owned(),
        detail,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes_ago(minutes: u64) -> u64 {
        unix_millis(SystemTime::now() - Duration::from_secs(60 * minutes))
    }

    #[test]
    fn a_request_is_refused_only_if_it_is_an_hour_too_late() {
        let deadline = |at| Deadline::of_caller(["d", "a"], ArrivalTime::now(), Some(2000), at);
        let day_ahead = SystemTime::now() + Duration::from_secs(86_400);
        for taken in [
            None,
            Some(minutes_ago(0)),
            Some(minutes_ago(59)),
            Some(unix_millis(day_ahead)),
        ] {
            assert!(deadline(taken).is_ok(), "{taken:?}");
        }
        for refused in [Some(minutes_ago(61)), Some(0)] {
            let problem = deadline(refused).unwrap_err();
            assert_eq!(problem.status(), 503, "{refused:?}");
        }
    }

    #[test]
    fn an_earlier_deadline_bounds_a_later_one_by_the_clock_too() {
        let attempt = Deadline::after(Duration::from_secs(1));
        let step = Deadline::after(Duration::from_secs(9));
        assert_eq!(step.min(attempt).unix_millis(), attempt.unix_millis());
        assert_eq!(step.max(attempt).unix_millis(), step.unix_millis());
    }

    #[test]
    fn an_attempt_keeps_its_time_and_is_dated_by_the_moment_before_its_claim() {
        let before_claim = Deadline::after(Duration::ZERO);
        let attempt = Deadline::after(Duration::from_secs(60)).dated_by(before_claim);
        assert_eq!(attempt.unix_millis(), before_claim.unix_millis());
        assert!(attempt.remaining() > Duration::from_secs(30));
    }
}
