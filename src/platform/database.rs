//! PostgreSQL: where its address is read, connections are pooled, migrations run, and failures sorted.

mod address;
mod pool;
mod url;

use std::sync::Arc;
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{
    AnsiTransactionManager, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use uuid::Uuid;

pub use address::redact;
pub use pool::{Database, Pools};
pub use url::DatabaseUrl;

use super::problem::Problem;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Held by whoever migrates, so that replicas started together do it one after the other. Any number will do.
const MIGRATION_LOCK: i64 = 0x5641_4c45;

/// Time for one piece of database work, waiting for a connection included.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// The server gives a statement up after this. It does not count the commit that follows.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The server waits this long for a lock that another session holds, then refuses the statement.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// Time that a change needs in the worst ordinary case: its statement, and its commit. A change whose outcome matters to a
/// client is not begun with less time left, because its outcome would probably be unknown.
pub const CHANGE_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_millis(500));
/// Time to wait for a free connection of the pool.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why database work failed. Cheap to clone: one failure may concern many callers of the same transaction.
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
    /// The server refused the statement and undid it, or Diesel refused it before it was sent, or cannot read its answer.
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
        if let Self::Query(error) = self { Some(error) } else { None }
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
        matches!(self, Self::TimedOut | Self::ConnectionLost(_) | Self::Internal(_))
    }

    /// The server takes no writes: it is a standby, or was made one.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let refused =
            |error| matches!(error, &DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _));
        matches!(self, Self::ReadOnly) || self.query().is_some_and(refused)
    }

    /// The server refused it, and Diesel does not say why: it hides the SQLSTATE, and the message is in the server's language.
    fn is_unexplained(&self) -> bool {
        matches!(self.query(), Some(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _)))
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

    /// The answer to a request that was to change something about an order. It promises that nothing was done only where
    /// that is certain.
    #[must_use]
    pub fn of_write(self, order_id: Uuid) -> Problem {
        if self.is_our_mistake() {
            return Problem::internal(self).of_order(order_id);
        }
        if self.is_outcome_unknown() {
            return Problem::outcome_unknown("The database did not answer in time.", order_id).because(self);
        }
        self.unavailable()
    }

    fn unavailable(self) -> Problem {
        if self.is_locked() {
            let detail =
                "Another database session holds a lock on what this request needs. Nothing was changed.";
            return Problem::unavailable(Problem::LOCKED, detail).because(self);
        }
        let detail =
            "The database cannot be reached, or is too busy, or cannot do this now. Nothing was changed.";
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

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error(
        "the database's schema has version {version}, which this program does not know: it is older than the schema; use the newer program"
    )]
    Newer { version: String },
    #[error("a migration failed: {0}")]
    Failed(String),
}

/// Applies what is missing; several processes may do so at once. Returns the versions applied.
///
/// All in one transaction, which holds the lock: it ends with the connection, whatever happens, and a pooler that gives
/// each transaction another session keeps it in one.
///
/// # Errors
/// See [`MigrationError`]; a failed migration leaves the schema as it was.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, MigrationError> {
    let unreachable = |cause: String| MigrationError::Unreachable { url: url.clone(), cause };
    let mut connection = url.connect().await.map_err(|error| unreachable(error.to_string()))?;
    // A pooler may take a connection while the database behind it is not there yet.
    begin_alone(&mut connection).await.map_err(|error| unreachable(error.to_string()))?;
    // On a thread where blocking is allowed: Diesel's migration harness is synchronous.
    let applied = tokio::task::spawn(async move {
        let mut harness = AsyncMigrationHarness::new(connection);
        let applied = apply(&mut harness);
        let mut connection = harness.into_inner();
        let outcome = match applied {
            Ok(versions) => commit(&mut connection).await.map(|()| versions),
            Err(error) => Err(error),
        };
        (outcome, is_lost(&mut connection).await)
    });
    match applied.await.map_err(|error| MigrationError::Failed(error.to_string()))? {
        // No migration's fault. What was begun is undone with the connection, and can be begun again.
        (Err(MigrationError::Failed(cause)), true) => Err(unreachable(cause)),
        (outcome, _) => outcome,
    }
}

fn apply(harness: &mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<Vec<String>, MigrationError> {
    refuse_newer(harness)?;
    let versions =
        harness.run_pending_migrations(MIGRATIONS).map_err(|e| MigrationError::Failed(e.to_string()))?;
    Ok(versions.iter().map(ToString::to_string).collect())
}

async fn commit(connection: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    let committed = AnsiTransactionManager::commit_transaction(connection).await;
    committed.map_err(|error| MigrationError::Failed(error.to_string()))
}

/// Asks once more: the end of a connection may not have been seen yet.
async fn is_lost(connection: &mut AsyncPgConnection) -> bool {
    let _ = connection.batch_execute("SELECT 1").await;
    connection.is_broken()
}

/// Begins a transaction that no other process that migrates is in at the same time.
async fn begin_alone(connection: &mut AsyncPgConnection) -> Result<(), DieselError> {
    AnsiTransactionManager::begin_transaction(connection).await?;
    connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await
}

fn refuse_newer(harness: &mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<(), MigrationError> {
    use diesel::migration::MigrationSource;
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| MigrationError::Failed(error.to_string());
    let known: Vec<_> = MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS)
        .map_err(failed)?
        .iter()
        .map(|migration| migration.name().version().as_owned())
        .collect();
    let applied = harness.applied_migrations().map_err(failed)?;
    match applied.into_iter().find(|version| !known.contains(version)) {
        Some(version) => Err(MigrationError::Newer { version: version.to_string() }),
        None => Ok(()),
    }
}
