//! How long a piece of work may still take, and how services tell each other.

use std::future::{Ready, ready};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::http::problem::{FieldError, Problem};

/// Milliseconds that the caller will still wait for the answer.
pub const HEADER: &str = "x-deadline-ms";

/// For a request that brings no deadline.
const USUAL: Duration = Duration::from_secs(30);
const MOST_MS: u64 = 3_600_000;

/// A point in time after which an answer is of no use to whoever asked.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// The one that comes first.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The one that comes last.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// What a caller gave in the field or header `name`: milliseconds from the arrival of its wish.
    ///
    /// # Errors
    /// When it is not a time that anybody would wait.
    pub fn given(name: &str, arrived: Arrived, milliseconds: Option<u64>) -> Result<Self, Problem> {
        let Some(milliseconds) = milliseconds else {
            return Ok(Self(arrived.0 + USUAL));
        };
        if milliseconds <= MOST_MS {
            Ok(Self(arrived.0 + Duration::from_millis(milliseconds)))
        } else {
            Err(unreadable(name))
        }
    }

    /// The moment so long before it.
    #[must_use]
    pub fn earlier_by(self, duration: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0.checked_sub(duration).unwrap_or(self.0))
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// To be asked before a transaction: nobody waits for it any more, and whoever asked goes by
    /// "outcome unknown".
    ///
    /// # Errors
    /// When it has passed.
    pub fn check(self) -> Result<(), Problem> {
        if self.remaining() == Duration::ZERO {
            let detail = "The caller's deadline passed before the work was begun.";
            return Err(Problem::unavailable("deadline-passed", detail).because("deadline passed"));
        }
        Ok(())
    }
}

/// When a request arrived, before the gremlin or a queue could hold it up.
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
                .ok_or_else(|| unreadable(HEADER))
        });
        ready(
            milliseconds
                .transpose()
                .and_then(|milliseconds| Self::given(HEADER, arrived, milliseconds)),
        )
    }
}

fn unreadable(name: &str) -> Problem {
    let detail = format!("must be milliseconds from 0 to {MOST_MS}");
    Problem::invalid(vec![FieldError {
        field: name.to_owned(),
        detail,
    }])
}
