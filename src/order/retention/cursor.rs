//! How far a run of retention has come.

use std::fmt;
use std::str::FromStr;

use crate::api::OrderStatus;
use crate::order::store::{Cursor, InvalidCursor};

/// The statuses of orders that leave, in the order of a run.
const STATUSES: [OrderStatus; 2] = [OrderStatus::Failed, OrderStatus::Confirmed];

/// The place in a run: the status that it looks at, and the last order that it has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    pub status: OrderStatus,
    pub after: Option<Cursor>,
}

impl RunCursor {
    pub const START: Self = Self {
        status: STATUSES[0],
        after: None,
    };

    /// The place after a page; `None` if the run has ended. `last` is the page's last order if
    /// there may be more after it.
    #[must_use]
    pub fn next(self, last: Option<Cursor>) -> Option<Self> {
        if last.is_some() {
            return Some(Self {
                after: last,
                ..self
            });
        }
        let mut rest = STATUSES.into_iter().skip_while(|one| *one != self.status);
        let status = rest.nth(1)?;
        Some(Self {
            status,
            after: None,
        })
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        self.after.map_or(Ok(()), |after| write!(f, "-{after}"))
    }
}

impl FromStr for RunCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (status, after) = match text.split_once('-') {
            Some((status, after)) => (status, Some(after.parse()?)),
            None => (text, None),
        };
        let status = STATUSES.into_iter().find(|one| one.as_str() == status);
        Ok(Self {
            status: status.ok_or(InvalidCursor)?,
            after,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_run_looks_at_each_status_to_its_end_and_then_ends() {
        let last = Cursor {
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            id: Uuid::now_v7(),
        };
        let second = RunCursor::START.next(Some(last)).unwrap();
        assert_eq!(
            (second.status, second.after),
            (OrderStatus::Failed, Some(last))
        );
        let confirmed = second.next(None).unwrap();
        assert_eq!(
            (confirmed.status, confirmed.after),
            (OrderStatus::Confirmed, None)
        );
        assert_eq!(confirmed.next(None), None);
        for cursor in [RunCursor::START, second, confirmed] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in ["", "PENDING", "FAILED-", "FAILED-x", "failed"] {
            assert_eq!(wrong.parse::<RunCursor>(), Err(InvalidCursor), "{wrong}");
        }
    }
}
