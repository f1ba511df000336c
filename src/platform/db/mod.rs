//! PostgreSQL: where its address is read, connections are pooled, migrations run, and failures
//! sorted.

mod address;
pub mod batcher;
mod pool;
mod schema;
pub mod spans;
mod tls;
pub mod unnest_query;
mod url;

use std::sync::Arc;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use uuid::Uuid;

pub use address::redact;
pub use pool::{Database, Pools};
pub use schema::{SchemaError, is_ready, migrate};
pub use url::DatabaseUrl;

use super::http::problem::Problem;

/// Time for one piece of database work, waiting for a connection included.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// The server gives a statement up after this. It does not count the commit that follows.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The server waits this long for a lock that another session holds, then refuses the statement.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// Time that a change needs in the worst ordinary case: its statement, and its commit. A change
/// whose outcome matters to a client is not begun with less time left, because its outcome would
/// probably be unknown.
pub const CHANGE_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_millis(500));
/// Time to wait for a free connection of the pool.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why database work failed. Cheap to clone: one failure may concern many callers of the same
/// transaction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// Nothing was sent.
    #[error("no free connection within {} ms", CHECKOUT_TIMEOUT.as_millis())]
    Busy,
    /// Nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Nothing was sent.
    #[error("too little time was left to begin")]
    TooLate,
    /// Nothing was done: another session holds a lock.
    #[error("another session holds a lock: {0}")]
    Locked(String),
    /// The server may have carried it out, or may still do so.
    #[error("no answer in time")]
    TimedOut,
    /// The server may have carried it out.
    #[error("the connection broke before the answer: {0}")]
    ConnectionLost(Arc<DieselError>),
    /// The server did nothing.
    #[error("it takes no writes")]
    ReadOnly,
    /// The server refused the statement and undid it, or Diesel refused it before it was sent, or
    /// cannot read its answer.
    #[error("{0}")]
    Query(Arc<DieselError>),
    /// A mistake of this program, such as a panic.
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
    /// A row is locked, as a question about locks has shown.
    #[must_use]
    pub fn row_locked() -> Self {
        Self::Locked("a row is locked".to_owned())
    }

    /// Whether the statement met a constraint of this name.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        self.query().is_some_and(
            |error| matches!(error, DieselError::DatabaseError(_, info) if info.constraint_name() == Some(constraint)),
        )
    }

    fn query(&self) -> Option<&DieselError> {
        if let Self::Query(error) = self {
            Some(error)
        } else {
            None
        }
    }

    /// The server refused the work because of what it was asked to do; other work may succeed.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Locked(_)) && !self.is_read_only()
    }

    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// A change may have been stored, or may still be: nobody can say that nothing was done.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::TimedOut | Self::ConnectionLost(_) | Self::Internal(_)
        )
    }

    /// The server takes no writes: it is a standby, or was made one.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let refused = |error| {
            matches!(
                error,
                &DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
            )
        };
        matches!(self, Self::ReadOnly) || self.query().is_some_and(refused)
    }

    /// The server refused it, and Diesel does not say why: it hides the SQLSTATE, and the message
    /// is in the server's language.
    fn is_unexplained(&self) -> bool {
        matches!(
            self.query(),
            Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
        )
    }

    /// A mistake of this program, where all else is trouble of the database's that may pass.
    fn is_our_mistake(&self) -> bool {
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

    /// The answer to a request that only read.
    #[must_use]
    pub fn of_read(self) -> Problem {
        if self.is_our_mistake() {
            return Problem::internal(self);
        }
        self.unavailable()
    }

    /// The answer to a request that was to change something about an order. It promises that
    /// nothing was done only where that is certain.
    #[must_use]
    pub fn of_write(self, order_id: Uuid) -> Problem {
        if self.is_our_mistake() {
            return Problem::internal(self).of_order(order_id);
        }
        if self.is_outcome_unknown() {
            return Problem::outcome_unknown("The database did not answer in time.", order_id)
                .because(self);
        }
        self.unavailable()
    }

    fn unavailable(self) -> Problem {
        if self.is_locked() {
            let detail = "Another database session holds a lock on what this request needs. Nothing was changed.";
            return Problem::unavailable(Problem::LOCKED, detail).because(self);
        }
        let detail = "The database cannot be reached, or is too busy, or cannot do this now. Nothing was changed.";
        Problem::unavailable("database-unavailable", detail).because(self)
    }
}

/// Runs work in a transaction and undoes whatever it did, locks included.
///
/// # Errors
/// Those of the work and of the transaction.
pub async fn rolled_back<T>(
    connection: &mut AsyncPgConnection,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    AnsiTransactionManager::begin_transaction(connection).await?;
    let outcome = work(connection).await;
    AnsiTransactionManager::rollback_transaction(connection).await?;
    outcome
}
