//! PostgreSQL: where its address is read, connections are pooled, migrations run, and failures sorted.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::bb8::QueueStrategy;
use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, RecyclingMethod, bb8,
};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;
use tokio_postgres::config::SslMode;

use super::problem::Problem;
use super::statements::Statements;
use super::tls;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Held by whoever migrates, so that replicas started together do it one after the other. Any number will do.
const MIGRATION_LOCK: i64 = 0x5641_4c45;

/// Time for one piece of database work, waiting for a connection included.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(3);
/// Time to wait for a free connection of the pool.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A checked `DATABASE_URL`. Its text forms never show the password.
#[derive(Clone)]
pub struct DatabaseUrl(Arc<Address>);

struct Address {
    config: tokio_postgres::Config,
    tls: tls::Trust,
    text: String,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("it must begin with postgres:// or postgresql://".into());
        }
        let (rest, tls) = tls::Trust::split_off(text)?;
        let mut config = tokio_postgres::Config::from_str(&rest).map_err(|error| {
            use std::error::Error;
            error.source().map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".into());
        }
        config.ssl_mode(if tls.is_required() { SslMode::Require } else { config.get_ssl_mode() });
        config.connect_timeout(CONNECT_TIMEOUT);
        // A peer that vanished without a word is noticed within seconds rather than in hours.
        config.tcp_user_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(10));
        if config.get_application_name().is_none() {
            config.application_name("valerix");
        }
        Ok(Self(Arc::new(Address { config, tls, text: text.to_owned() })))
    }
}

impl DatabaseUrl {
    /// The address with its password, for a child process's environment.
    #[must_use]
    pub fn with_password(&self) -> &str {
        &self.0.text
    }

    /// Opens one connection.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn connect(&self) -> Result<AsyncPgConnection, ConnectionError> {
        let bad = |error: tokio_postgres::Error| ConnectionError::BadConnection(describe(&error));
        let (client, connection) = self
            .0
            .config
            .connect(self.0.tls.connector().map_err(ConnectionError::BadConnection)?)
            .await
            .map_err(bad)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0.text))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hides what stands between the user's name and the last `@`, and a `password=` parameter.
#[must_use]
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Without an address the text may be anything, a bare password too.
        return "***".to_owned();
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), rest),
            None => (format!("{credentials}@"), rest),
        },
        None => (String::new(), rest),
    };
    let shown = rest.split_inclusive(['?', '&']).map(|part| {
        let end = if part.ends_with('&') { "&" } else { "" };
        if part.starts_with("password=") { format!("password=***{end}") } else { part.to_owned() }
    });
    format!("{scheme}://{user}{}", shown.collect::<String>())
}

/// What can go wrong with database work. Cheap to clone: one failure may concern many who waited for the same transaction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    #[error("no free connection within {} ms", CHECKOUT_TIMEOUT.as_millis())]
    Busy,
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("no answer in time")]
    TimedOut,
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
            Self::Busy | Self::Unreachable(_) | Self::TimedOut => None,
        }
    }

    /// The server refused the statement and undid it; others may succeed. Otherwise the connection or the server is in
    /// trouble, and what became of the statement may be unknown.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        use DatabaseErrorKind as Kind;
        match self.query() {
            Some(DieselError::DatabaseError(kind, _)) => {
                !matches!(kind, Kind::UnableToSendCommand | Kind::ClosedConnection)
            }
            Some(DieselError::BrokenTransactionManager | DieselError::RollbackErrorOnCommit { .. })
            | None => false,
            Some(_) => true,
        }
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

/// The service's connections: a pool for each thread that needs one, so that a statement's way to the server and back
/// never wakes another thread, and no connection dies with a thread that others still are using it from.
#[derive(Clone)]
pub struct Pools {
    url: DatabaseUrl,
    /// Connections of each pool, at most.
    size: u32,
    opened: Arc<Mutex<Vec<Pool>>>,
}

impl Pools {
    /// For so many threads, which share out so many connections.
    #[must_use]
    pub fn new(url: &DatabaseUrl, connections: u32, threads: usize) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let size = connections.checked_div(threads).unwrap_or_default().max(1);
        Self { url: url.clone(), size, opened: Arc::default() }
    }

    /// A pool for this thread, whose runtime drives the connections. None is opened before it is needed.
    #[must_use]
    pub fn here(&self) -> Database {
        let database = Database::new(&self.url, self.size);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(database.pool.clone());
        database
    }

    /// Open connections, and how many of them are idle.
    #[must_use]
    pub fn state(&self) -> (u32, u32) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened
            .iter()
            .map(Pool::state)
            .fold((0, 0), |(open, idle), state| (open + state.connections, idle + state.idle_connections))
    }
}

/// A connection on loan from the pool.
pub type Connection<'a> = bb8::PooledConnection<'a, AsyncPgConnection>;
type Pool = bb8::Pool<AsyncPgConnection>;

/// One thread's pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
}

impl Database {
    fn new(url: &DatabaseUrl, size: u32) -> Self {
        let mut config = ManagerConfig::default();
        config.recycling_method =
            RecyclingMethod::CustomFunction(Box::new(|connection: &mut AsyncPgConnection| {
                // Costs no round trip; a connection that the server closed is known as broken at once.
                let broken = connection.is_broken();
                async move { if broken { Err(DieselError::BrokenTransactionManager) } else { Ok(()) } }
                    .boxed()
            }));
        let url = url.clone();
        config.custom_setup = Box::new(move |_| {
            let url = url.clone();
            async move { open_for_pool(&url).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(String::new(), config);
        let pool = bb8::Pool::builder()
            .max_size(size)
            .connection_timeout(CHECKOUT_TIMEOUT)
            .retry_connection(false)
            // The connection used last has its statements prepared and its caches warm; the others close after a while.
            .queue_strategy(QueueStrategy::Lifo)
            .build_unchecked(manager);
        Self { pool }
    }

    /// Runs work on one connection, within [`WORK_TIMEOUT`] as a whole.
    ///
    /// # Errors
    /// Those of the work, and [`DatabaseError`] where it could not be done in time.
    pub async fn run<T, E: From<DatabaseError>>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run_within(WORK_TIMEOUT, work).await
    }

    /// As [`Database::run`], within another limit as a whole.
    ///
    /// # Errors
    /// The same.
    pub async fn run_within<T, E: From<DatabaseError>>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let bounded = async { work(&mut *self.connection().await?).await };
        // Work given up half way inside a transaction leaves its connection marked broken, and the pool drops it.
        tokio::time::timeout(limit, bounded).await.map_err(|_| DatabaseError::TimedOut)?
    }

    /// A connection of the pool. Whoever uses it bounds that by [`WORK_TIMEOUT`].
    ///
    /// # Errors
    /// When none is free soon, or the database cannot be reached.
    pub async fn connection(&self) -> Result<Connection<'_>, DatabaseError> {
        self.pool.get().await.map_err(|error| match error {
            bb8::RunError::TimedOut => DatabaseError::Busy,
            bb8::RunError::User(error) => DatabaseError::Unreachable(error.to_string()),
        })
    }
}

async fn open_for_pool(url: &DatabaseUrl) -> Result<AsyncPgConnection, ConnectionError> {
    let mut connection = url.connect().await?;
    // The server gives up before we do, so that no lock is held for a caller that is gone.
    let limit = WORK_TIMEOUT.as_millis() - 500;
    // A prepared statement keeps its plan. One made while a table was small must not read the whole of it once it has
    // grown: with an index to every row that a service looks up, reading whole tables is left to the audit. So no plan
    // depends on the values either, and none need be made for them. Without bitmaps, rows are found, and locked, in the
    // order of their index.
    let settings = format!(
        "SET statement_timeout = {limit}; SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off;
         SET plan_cache_mode = force_generic_plan"
    );
    connection.batch_execute(&settings).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    connection.set_instrumentation(Statements::default());
    Ok(connection)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_form_shows_the_password() {
        for (url, shown) in [
            ("postgres://u:p@ss@h/db?sslmode=disable", "postgres://u:***@h/db?sslmode=disable"),
            ("postgres://u:p?x@h/db", "postgres://u:***@h/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres://h/db?user=u&password=p&a=b", "postgres://h/db?user=u&password=***&a=b"),
            ("secret", "***"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }

    #[test]
    fn every_ssl_mode_of_the_contract_is_taken_and_others_are_named() {
        for mode in ["disable", "prefer", "require", "verify-full"] {
            let url = DatabaseUrl::from_str(&format!("postgres://u:p@h:5432/db?sslmode={mode}"));
            assert!(url.is_ok(), "{mode}: {url:?}");
        }
        let error = DatabaseUrl::from_str("postgres://h/db?sslmode=maybe").unwrap_err();
        assert!(error.contains("sslmode"), "{error}");
    }

    #[test]
    fn a_wrong_url_is_refused_with_a_reason() {
        for url in
            ["", "mysql://h/db", "postgres://h:port/db", "postgres:///db", "postgres://h/db?nonsense=1"]
        {
            assert!(DatabaseUrl::from_str(url).is_err(), "{url}");
        }
    }
}
