//! Logs a lasting failure when it starts, when its cause changes and when it ends, and not each time
//! that it is met.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Causes that one incident logs. Causes that alternate are logged once each.
const MAX_CAUSES: usize = 8;

/// The log of one kind of incident.
pub struct IncidentLog {
    started: &'static str,
    ended: &'static str,
    present: Mutex<Option<Present>>,
}

struct Present {
    since: Instant,
    causes: Vec<String>,
}

impl IncidentLog {
    /// `started` and `ended` are the messages of the log lines.
    #[must_use]
    pub fn new(started: &'static str, ended: &'static str) -> Self {
        Self {
            started,
            ended,
            present: Mutex::default(),
        }
    }

    /// Reports that the incident is present. Returns whether this was logged: it starts, or has a
    /// new cause.
    pub fn raise(&self, cause: &impl fmt::Display) -> bool {
        let cause = cause.to_string();
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Present { causes, .. } = present.get_or_insert_with(|| Present {
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

    /// Returns the cause that was logged last, while the incident is present.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        present
            .as_ref()
            .and_then(|present| present.causes.last().cloned())
    }

    /// Reports that the incident is not present. Returns whether this ended it, which is logged.
    pub fn resolve(&self) -> bool {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Present { since, .. }) = present.take() else {
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
