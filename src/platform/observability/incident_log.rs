//! Trouble that lasts is told when it begins, when its cause is another, and when it is over: not
//! each time it is met.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::platform::db::DatabaseError;

/// Causes told of one trouble, at most. Two that take turns are told once each.
const MOST: usize = 8;

/// One kind of trouble that a process can be in.
pub struct Trouble {
    begins: &'static str,
    ends: &'static str,
    present: Mutex<Option<Present>>,
}

struct Present {
    since: Instant,
    causes: Vec<String>,
}

impl Trouble {
    /// With the log's words for its beginning and its end.
    #[must_use]
    pub fn new(begins: &'static str, ends: &'static str) -> Self {
        Self {
            begins,
            ends,
            present: Mutex::default(),
        }
    }

    /// What came of work with the database. That it cannot be reached is told by the pool, for all.
    pub fn note<T>(&self, outcome: &Result<T, DatabaseError>) {
        match outcome {
            Ok(_) => {
                self.over();
            }
            Err(DatabaseError::Unreachable(_)) => {}
            Err(error) => {
                self.met(error);
            }
        }
    }

    /// It is met. Tells whether that was news, which is logged.
    pub fn met(&self, cause: &impl fmt::Display) -> bool {
        let cause = cause.to_string();
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Present { causes, .. } = present.get_or_insert_with(|| Present {
            since: Instant::now(),
            causes: Vec::new(),
        });
        if causes.len() == MOST || causes.contains(&cause) {
            return false;
        }
        tracing::warn!(cause, "{}", self.begins);
        causes.push(cause);
        true
    }

    /// Why it is there, if it is: the cause that was told of last.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        present
            .as_ref()
            .and_then(|present| present.causes.last().cloned())
    }

    /// All is well. Tells whether that was news, which is logged.
    pub fn over(&self) -> bool {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Present { since, .. }) = present.take() else {
            return false;
        };
        tracing::info!(seconds = since.elapsed().as_secs(), "{}", self.ends);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_until_the_trouble_is_over() {
        let trouble = Trouble::new("it begins", "it is over");
        assert!(!trouble.over());
        let told = ["a", "a", "b", "a", "b"].map(|cause| trouble.met(&cause));
        assert_eq!(told, [true, false, true, false, false]);
        assert_eq!([trouble.over(), trouble.over()], [true, false]);
        assert_eq!(trouble.cause(), None);
        assert!(trouble.met(&"a"));
        assert_eq!(trouble.cause().as_deref(), Some("a"));
    }

    #[test]
    fn causes_that_are_never_the_same_come_to_an_end() {
        let trouble = Trouble::new("it begins", "it is over");
        let told = (0..100).filter(|number| trouble.met(number)).count();
        assert_eq!(told, MOST);
    }
}
