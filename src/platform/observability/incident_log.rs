//! Logs a lasting failure only when it starts, when its cause changes and when it ends.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Upper bound on the causes that are logged during one incident. Each cause is logged once.
const MAX_CAUSES: usize = 8;

/// The log of one kind of incident, of which at most one is in progress.
pub struct IncidentLog {
    started: &'static str,
    ended: &'static str,
    current: Mutex<Option<Incident>>,
}

/// An incident that has not ended.
struct Incident {
    since: Instant,
    /// The logged causes.
    causes: Vec<String>,
}

impl IncidentLog {
    /// `started` and `ended` are the messages of the log lines.
    #[must_use]
    pub fn new(started: &'static str, ended: &'static str) -> Self {
        Self {
            started,
            ended,
            current: Mutex::default(),
        }
    }

    /// Reports that the failure is present. Returns whether this was logged, because the incident
    /// starts or has a new cause.
    pub fn raise(&self, cause: &impl fmt::Display) -> bool {
        let cause = cause.to_string();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Incident { causes, .. } = current.get_or_insert_with(|| Incident {
            since: Instant::now(),
            causes: Vec::new(),
        });
        if causes.len() == MAX_CAUSES || causes.contains(&cause) {
            return false;
        }
        tracing::warn!(cause, "{}", self.started);
        causes.push(cause);
        true
    }

    /// Returns the cause that was logged last, if the incident has not ended.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .as_ref()
            .and_then(|incident| incident.causes.last().cloned())
    }

    /// Reports that the failure is not present. Returns whether this was logged, because the
    /// incident ends.
    pub fn resolve(&self) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Incident { since, .. }) = current.take() else {
            return false;
        };
        tracing::info!(seconds = since.elapsed().as_secs(), "{}", self.ended);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_logged_once_until_the_incident_ends() {
        let incident = IncidentLog::new("it started", "it is over");
        assert!(!incident.resolve());
        let logged = ["a", "a", "b", "a", "b"].map(|cause| incident.raise(&cause));
        assert_eq!(logged, [true, false, true, false, false]);
        assert_eq!([incident.resolve(), incident.resolve()], [true, false]);
        assert_eq!(incident.cause(), None);
        assert!(incident.raise(&"a"));
        assert_eq!(incident.cause().as_deref(), Some("a"));
    }

    #[test]
    fn the_number_of_logged_causes_is_bounded() {
        let incident = IncidentLog::new("it started", "it is over");
        let logged = (0..100).filter(|number| incident.raise(number)).count();
        assert_eq!(logged, MAX_CAUSES);
    }
}
