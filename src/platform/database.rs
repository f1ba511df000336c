//! PostgreSQL: where its address is read, connections are pooled, migrations run, and failures sorted.

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

pub use pool::{Database, Pools};
pub use url::{DatabaseUrl, redact};

use super::problem::Problem;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Held by whoever migrates, so that replicas started together do it one after the other. Any number will do.
const MIGRATION_LOCK: i64 = 0x5641_4c45;

/// Time for one piece of database work, waiting for a connection included.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// Time to wait for a free connection of the pool.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);

/// What can go wrong with database work. Cheap to clone: one failure may concern many who waited for the same transaction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    #[error("no free connection within {} ms", CHECKOUT_TIMEOUT.as_millis())]
    Busy,
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("it takes no writes")]
    ReadOnly,
    #[error("{0}")]
    Query(Arc<DieselError>),
}

impl From<DieselError> for DatabaseError {
    fn from(error: DieselError) -> Self {
        Self::Query(Arc::new(error))
    }
}

impl DatabaseError {
    /// Whether the statement met a constraint of this name.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        self.query().is_some_and(
            |error| matches!(error, DieselError::DatabaseError(_, info) if info.constraint_name() == Some(constraint)),
        )
    }

    fn query(&self) -> Option<&DieselError> {
        match self {
            Self::Query(error) => Some(error),
            Self::Busy | Self::Unreachable(_) | Self::TimedOut | Self::ReadOnly => None,
        }
    }

    /// The server refused the statement and undid it; others may succeed. Otherwise the connection or the server is in
    /// trouble, and what became of the statement may be unknown.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        use DatabaseErrorKind as Kind;
        match self.query() {
            Some(DieselError::DatabaseError(kind, _)) => !matches!(
                kind,
                Kind::UnableToSendCommand | Kind::ClosedConnection | Kind::ReadOnlyTransaction
            ),
            Some(DieselError::BrokenTransactionManager | DieselError::RollbackErrorOnCommit { .. })
            | None => false,
            Some(_) => true,
        }
    }

    /// The server takes no writes: it is a standby, or was made one.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let refused =
            |error| matches!(error, &DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _));
        matches!(self, Self::ReadOnly) || self.query().is_some_and(refused)
    }

    /// A row holds a name that this program does not know.
    #[must_use]
    pub fn unknown_name(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        DieselError::DeserializationError(Box::new(error)).into()
    }

    /// A mistake of ours, where all else is trouble of the database's that may pass.
    fn is_our_mistake(&self) -> bool {
        use DatabaseErrorKind as Kind;
        match self.query() {
            Some(DieselError::DatabaseError(kind, _)) => matches!(
                kind,
                Kind::UniqueViolation
                    | Kind::ForeignKeyViolation
                    | Kind::NotNullViolation
                    | Kind::CheckViolation
                    | Kind::RestrictViolation
                    | Kind::ExclusionViolation
            ),
            Some(DieselError::BrokenTransactionManager | DieselError::RollbackErrorOnCommit { .. })
            | None => false,
            Some(_) => true,
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        if error.is_our_mistake() {
            return Self::internal(error);
        }
        let detail = "The database cannot be reached, or is too busy, or cannot do this now.";
        Self::unavailable("database-unavailable", detail).because(error)
    }
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
