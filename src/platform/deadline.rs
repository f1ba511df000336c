//! How long a piece of work may still take, and how services tell each other.

use std::future::{Ready, ready};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::problem::{FieldError, Problem};

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

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// To be asked before a transaction: nobody waits for it any more, and whoever asked goes by "outcome unknown".
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
pub struct Arrived(pub Instant);

/// Extractor: the caller's deadline, counted from the request's arrival.
impl FromRequest for Deadline {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let arrived = request.extensions().get::<Arrived>().map_or_else(Instant::now, |arrived| arrived.0);
        let Some(value) = request.headers().get(HEADER) else { return ready(Ok(Self(arrived + USUAL))) };
        let milliseconds = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        ready(match milliseconds.filter(|milliseconds| *milliseconds <= MOST_MS) {
            Some(milliseconds) => Ok(Self(arrived + Duration::from_millis(milliseconds))),
            None => Err(Problem::invalid(vec![FieldError {
                field: HEADER.to_owned(),
                detail: format!("must be milliseconds from 0 to {MOST_MS}"),
            }])),
        })
    }
}
