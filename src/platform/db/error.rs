//! Why database work failed, and the response to the request that needed it.

use std::sync::Arc;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use uuid::Uuid;

use super::timeouts::CHECKOUT_TIMEOUT;
use crate::platform::http::problem::Problem;
use crate::platform::observability::incident_log::IncidentLog;

/// Why database work failed. Cheap to clone, because one failed transaction can have many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// Nothing was sent.
    #[error("no free connection within {} ms", CHECKOUT_TIMEOUT.as_millis())]
    Busy,
    /// Nothing was sent: the batcher already has its maximum number of items in its queue.
    #[error("{0} items are already queued")]
    QueueFull(usize),
    /// Nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Nothing was sent.
    #[error("not enough time left to start")]
    TooLate,
    /// Nothing was done: another session holds a lock.
    #[error("another session holds a lock: {0}")]
    Locked(String),
    /// The server may have done the work, or may still do it.
    #[error("no response in time")]
    TimedOut,
    /// The server may have done the work.
    #[error("the connection broke before the response: {0}")]
    ConnectionLost(Arc<DieselError>),
    /// The server did nothing.
    #[error("the server takes no writes")]
    ReadOnly,
    /// The server rejected a statement and rolled back, Diesel rejected it before it was sent, or
    /// Diesel cannot read the result.
    #[error("{0}")]
    Query(Arc<DieselError>),
    /// A fault of this program, such as a panic.
    #[error("{0}")]
    Internal(String),
}

impl From<DieselError> for DatabaseError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
                _,
            )
            | DieselError::BrokenTransactionManager
            | DieselError::RollbackErrorOnCommit { .. } => Self::ConnectionLost(Arc::new(error)),
            _ => Self::Query(Arc::new(error)),
        }
    }
}

impl DatabaseError {
    /// Returns the error of an item whose row was found locked before it was executed.
    #[must_use]
    pub fn row_locked() -> Self {
        Self::Locked("a row is locked".to_owned())
    }

    /// Whether the statement violated the constraint with this name.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        let Some(DieselError::DatabaseError(_, info)) = self.query() else {
            return false;
        };
        info.constraint_name() == Some(constraint)
    }

    fn query(&self) -> Option<&DieselError> {
        if let Self::Query(error) = self {
            Some(error)
        } else {
            None
        }
    }

    /// Whether the server rejected this work for a reason of its own. Other work may succeed.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Locked(_)) && !self.is_read_only()
    }

    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// Whether a change may have been stored, or may still be.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::TimedOut | Self::ConnectionLost(_) | Self::Internal(_)
        )
    }

    /// Whether the server takes no writes, because it is or became a standby.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let is_read_only_error = |error| {
            matches!(
                error,
                &DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
            )
        };
        matches!(self, Self::ReadOnly) || self.query().is_some_and(is_read_only_error)
    }

    /// Whether Diesel does not report why the server rejected the work: it hides the SQLSTATE, and
    /// the message is in the language of the server.
    pub(super) fn has_unreported_cause(&self) -> bool {
        matches!(
            self.query(),
            Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
        )
    }

    /// Whether this is a fault of this program. All other errors come from the database, and may go
    /// away.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        use DatabaseErrorKind as Kind;
        match self {
            Self::Internal(_) => true,
            Self::Query(error) => match **error {
                DieselError::DatabaseError(ref kind, _) => matches!(
                    kind,
                    Kind::UniqueViolation
                        | Kind::ForeignKeyViolation
                        | Kind::NotNullViolation
                        | Kind::CheckViolation
                        | Kind::RestrictViolation
                        | Kind::ExclusionViolation
                ),
                _ => true,
            },
            _ => false,
        }
    }

    /// Returns the problem document for a request that only reads.
    #[must_use]
    pub fn into_read_problem(self) -> Problem {
        if self.is_internal() {
            return Problem::internal(self);
        }
        self.unavailable()
    }

    /// Returns the problem document for a request that changes an order. It says that nothing was
    /// done only if that is certain.
    #[must_use]
    pub fn into_write_problem(self, order_id: Uuid) -> Problem {
        if self.is_internal() {
            return Problem::internal(self).with_order_id(order_id);
        }
        if self.is_outcome_unknown() {
            return Problem::outcome_unknown("The database did not confirm the change.", order_id)
                .with_cause(self);
        }
        self.unavailable()
    }

    /// Returns the problem document for a request that changes something else than an order. It
    /// says that nothing was done only if that is certain. `repeat` is a sentence that says how the
    /// client can repeat the change safely. `is_repeatable` says whether the very same request does
    /// so.
    #[must_use]
    pub fn into_change_problem(self, repeat: &str, is_repeatable: bool) -> Problem {
        // A fault of this program is a 500.
        if self.is_internal() || !self.is_outcome_unknown() {
            return self.into_read_problem();
        }
        let problem = Problem::change_unknown("The database did not respond in time.")
            .with_added_detail(repeat)
            .with_cause(self);
        if is_repeatable {
            problem.with_retry_after(1)
        } else {
            problem
        }
    }

    fn unavailable(self) -> Problem {
        if self.is_locked() {
            let detail = "Another database session holds a lock on what this request needs. \
                Nothing was changed.";
            return Problem::unavailable(Problem::LOCKED, detail).with_cause(self);
        }
        let detail = "The database is unreachable, overloaded, or takes no changes now. \
            Nothing was changed.";
        Problem::unavailable("database-unavailable", detail).with_cause(self)
    }
}

/// Raises or resolves an incident, depending on the outcome of database work. An unreachable
/// database raises nothing, because the pools already raise their own incident.
pub fn observe<T>(incident: &IncidentLog, outcome: &Result<T, DatabaseError>) {
    match outcome {
        Ok(_) => {
            incident.resolve();
        }
        Err(DatabaseError::Unreachable(_)) => {}
        Err(error) => {
            incident.raise(error);
        }
    }
}
