//! Deadlines: how long a piece of work may take, passed on from service to service.

use std::future::{Ready, ready};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::http::problem::{FieldError, Problem};

/// The header with the milliseconds that the caller still waits for the response.
pub const HEADER: &str = "x-deadline-ms";

/// For a request without a deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_MS: u64 = 3_600_000;

/// The time after which the caller no longer waits for the response.
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

    /// Returns the deadline that is this many milliseconds after the arrival of the request, or 30 s
    /// if the caller gave none. `name` is the field or header that holds the milliseconds.
    ///
    /// # Errors
    /// 400 when it is more than an hour.
    pub fn from_millis(
        name: &str,
        arrived: Arrived,
        milliseconds: Option<u64>,
    ) -> Result<Self, Problem> {
        let Some(milliseconds) = milliseconds else {
            return Ok(Self(arrived.0 + DEFAULT_TIMEOUT));
        };
        if milliseconds <= MAX_MS {
            Ok(Self(arrived.0 + Duration::from_millis(milliseconds)))
        } else {
            Err(invalid(name))
        }
    }

    /// Returns the time that is this long before the deadline.
    #[must_use]
    pub fn earlier_by(self, duration: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0.checked_sub(duration).unwrap_or(self.0))
    }

    /// Returns the remaining time; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Must be called before a transaction starts. A caller whose deadline has passed treats the
    /// outcome as unknown, so no work must be started for it.
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
pub struct Arrived(Instant);

impl Arrived {
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
            .get::<Arrived>()
            .copied()
            .unwrap_or_else(Arrived::now);
        let given = request.headers().get(HEADER);
        let milliseconds = given.map(|value| {
            value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| invalid(HEADER))
        });
        ready(
            milliseconds
                .transpose()
                .and_then(|milliseconds| Self::from_millis(HEADER, arrived, milliseconds)),
        )
    }
}

fn invalid(name: &str) -> Problem {
    let detail = format!("must be milliseconds from 0 to {MAX_MS}");
    Problem::invalid(vec![FieldError {
        field: name.to_owned(),
        detail,
    }])
}
