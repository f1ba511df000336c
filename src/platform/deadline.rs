//! Deadlines: how long the caller of a service waits. A service passes its own deadlines on in the
//! calls that it makes.

use std::future::{Ready, ready};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::http::problem::{FieldError, Problem};

/// The header that says for how many milliseconds the caller still waits.
pub const DEADLINE_HEADER: &str = "x-deadline-ms";

/// The deadline of a request that has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_DEADLINE_MS: u64 = 3_600_000;

/// The point in time after which the caller no longer waits for the response.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Returns the earlier of two deadlines.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// Returns the later of two deadlines.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// Returns the deadline this many milliseconds after the arrival of the request, or 30 s after
    /// it for `None`. `name` is the field or header that holds the milliseconds.
    ///
    /// # Errors
    /// 400 when it is more than one hour.
    pub fn from_millis(
        name: &str,
        arrived: ArrivalTime,
        milliseconds: Option<u64>,
    ) -> Result<Self, Problem> {
        let Some(milliseconds) = milliseconds else {
            return Ok(Self(arrived.0 + DEFAULT_TIMEOUT));
        };
        if milliseconds <= MAX_DEADLINE_MS {
            Ok(Self(arrived.0 + Duration::from_millis(milliseconds)))
        } else {
            Err(invalid(name))
        }
    }

    /// Returns the point in time this long before the deadline.
    #[must_use]
    pub fn earlier_by(self, duration: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0.checked_sub(duration).unwrap_or(self.0))
    }

    /// Returns the remaining time; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
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
pub struct ArrivalTime(Instant);

impl ArrivalTime {
    #[must_use]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
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
        let header = request.headers().get(DEADLINE_HEADER);
        let milliseconds = header.map(|value| {
            value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| invalid(DEADLINE_HEADER))
        });
        ready(
            milliseconds
                .transpose()
                .and_then(|milliseconds| Self::from_millis(DEADLINE_HEADER, arrived, milliseconds)),
        )
    }
}

fn invalid(name: &str) -> Problem {
    let detail = format!("must be milliseconds from 0 to {MAX_DEADLINE_MS}");
    Problem::invalid(vec![FieldError {
        field: name.to_owned(),
        detail,
    }])
}
