//! The database connections of a service: a pool for each thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8::{ManageConnection, QueueStrategy, RunError};
use diesel::result::ConnectionError;
use diesel::sql_types::Bool;
use diesel::{QueryableByName, sql_query};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, timeout_at};

use super::error::{DatabaseError, observe};
use super::metrics::DatabaseMetrics;
use super::spans::Statements;
use super::timeouts::{CHECKOUT_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT, WORK_TIMEOUT};
use super::url::DatabaseUrl;
use crate::platform::http::health;
use crate::platform::observability::incident_log::IncidentLog;

/// Shorter than the timeout of `/health`. So a server that hangs is detected here, where its connection
/// is closed.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1200);
const _: () = assert!(CHECK_TIMEOUT.as_millis() < health::CHECK_TIMEOUT.as_millis());

/// Opens a pool for each thread that needs one. So a statement never wakes another thread, and no
/// connection ends with a thread while another thread uses it.
#[derive(Clone)]
pub struct Pools {
    url: DatabaseUrl,
    /// Maximum number of connections of each pool.
    size: u32,
    opened: Arc<Mutex<Vec<Pool>>>,
    incidents: Arc<Incidents>,
    metrics: Arc<DatabaseMetrics>,
}

/// The incidents that are logged once for the whole process.
struct Incidents {
    connecting: IncidentLog,
    checking: IncidentLog,
    /// The schema is not migrated yet, so a failed check is expected.
    schema_expected: AtomicBool,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            connecting: IncidentLog::new("waiting for the database", "the database is reachable"),
            checking: IncidentLog::new(
                "not ready: the database cannot be used",
                "ready: the database can be used",
            ),
            schema_expected: AtomicBool::new(false),
        }
    }
}

impl Pools {
    /// Divides `connections` among the pools of `threads`; each gets at least one.
    #[must_use]
    pub fn new(
        url: &DatabaseUrl,
        connections: u32,
        threads: usize,
        metrics: DatabaseMetrics,
    ) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let size = connections.checked_div(threads).unwrap_or_default().max(1);
        Self {
            url: url.clone(),
            size,
            opened: Arc::default(),
            incidents: Arc::default(),
            metrics: Arc::new(metrics),
        }
    }

    /// Opens a pool for the current thread, whose runtime drives its connections. A connection is opened
    /// when it is first needed.
    #[must_use]
    pub fn here(&self) -> Database {
        let manager = Manager {
            url: self.url.clone(),
            incidents: Arc::clone(&self.incidents),
        };
        let pool = Pool::builder()
            .max_size(self.size)
            .connection_timeout(CHECKOUT_TIMEOUT)
            .retry_connection(false)
            // The connection that was used last has prepared statements and warm caches. The others
            // close after a while.
            .queue_strategy(QueueStrategy::Lifo)
            .build_unchecked(manager);
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pool.clone());
        Database {
            pool,
            incidents: Arc::clone(&self.incidents),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// The incident of a database that cannot be reached, for code that connects without a pool.
    #[must_use]
    pub fn connecting(&self) -> &IncidentLog {
        &self.incidents.connecting
    }

    /// Sets whether the schema is still being migrated.
    pub fn expect_schema(&self, expected: bool) {
        self.incidents
            .schema_expected
            .store(expected, Ordering::Relaxed);
    }

    /// Updates the series of open and idle connections.
    pub fn update_metrics(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, idle) = opened
            .iter()
            .map(Pool::state)
            .fold((0, 0), |(open, idle), state| {
                (open + state.connections, idle + state.idle_connections)
            });
        self.metrics.connections_open.set(open.into());
        self.metrics.connections_idle.set(idle.into());
    }
}

type Pool = bb8::Pool<Manager>;

/// Opens the connections of a pool, and detects those that are broken.
struct Manager {
    url: DatabaseUrl,
    incidents: Arc<Incidents>,
}

struct Pooled {
    connection: AsyncPgConnection,
    /// It did not respond in time, or its server takes no writes any more. A new connection may reach
    /// a server that does.
    is_unusable: bool,
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = ConnectionError;

    async fn connect(&self) -> Result<Pooled, ConnectionError> {
        let opened = open(&self.url).await;
        match &opened {
            Ok(_) => self.incidents.connecting.resolve(),
            Err(error) => self.incidents.connecting.raise(error),
        };
        opened.map(|connection| Pooled {
            connection,
            is_unusable: false,
        })
    }

    /// Costs no round trip. A connection that the server closed is known to be broken.
    async fn is_valid(&self, pooled: &mut Pooled) -> Result<(), ConnectionError> {
        if self.has_broken(pooled) {
            return Err(ConnectionError::BadConnection(
                "the connection broke while it was idle".to_owned(),
            ));
        }
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        std::thread::panicking() || pooled.is_unusable || pooled.connection.is_broken()
    }
}

async fn open(url: &DatabaseUrl) -> Result<AsyncPgConnection, ConnectionError> {
    let mut connection = url.connect().await?;
    let (statement, lock) = (STATEMENT_TIMEOUT.as_millis(), LOCK_TIMEOUT.as_millis());
    // A prepared statement keeps its plan, and a plan that was made while a table was small must not
    // read the whole table once it has grown. Every row that a service looks up has an index, so
    // sequential scans are off and no plan depends on the values. Without bitmap scans, rows are
    // found and locked in the order of their index.
    let settings = format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock}; SET jit = off; SET enable_seqscan = off;
         SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan"
    );
    let set = tokio::time::timeout(WORK_TIMEOUT, connection.batch_execute(&settings)).await;
    set.map_err(|_| ConnectionError::BadConnection("no response in time".to_owned()))?
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    connection.set_instrumentation(Statements::default());
    Ok(connection)
}

/// The pool of one thread. Clones share it.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    incidents: Arc<Incidents>,
    metrics: Arc<DatabaseMetrics>,
}

impl Database {
    pub(super) fn metrics(&self) -> &DatabaseMetrics {
        &self.metrics
    }

    /// Runs work on one connection. [`WORK_TIMEOUT`] bounds all of it, the wait for a connection
    /// included.
    ///
    /// # Errors
    /// Those of the work, and [`DatabaseError`] if it was not done in time.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.run_within(WORK_TIMEOUT, work).await
    }

    /// Runs work as [`Database::run`] does, with another timeout.
    ///
    /// # Errors
    /// Those of [`Database::run`].
    pub async fn run_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let deadline = Instant::now() + limit;
        self.run_once(deadline, deadline, work).await
    }

    /// Runs work as [`Database::run`] does. Work that meets a lock of another session was not done, and
    /// is retried until the timeout.
    ///
    /// # Errors
    /// Those of [`Database::run`].
    pub async fn run_when_unlocked<T>(
        &self,
        work: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.run_when_unlocked_within(WORK_TIMEOUT, work).await
    }

    async fn run_when_unlocked_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let deadline = Instant::now() + limit;
        loop {
            let outcome = self.run_once(deadline, deadline, &work).await;
            let again = outcome.as_ref().is_err_and(DatabaseError::is_locked)
                && Instant::now() + LOCK_TIMEOUT < deadline;
            if !again {
                return outcome;
            }
        }
    }

    /// Runs work once. It is not started after `begin_by`, and abandoned at `deadline`.
    ///
    /// # Errors
    /// Those of the work; [`DatabaseError::TooLate`] if it was not started.
    pub async fn run_once<T>(
        &self,
        begin_by: Instant,
        deadline: Instant,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut pooled = timeout_at(begin_by, self.checkout())
            .await
            .map_err(|_| DatabaseError::TooLate)??;
        let begun = Instant::now();
        if begun > begin_by {
            return Err(DatabaseError::TooLate);
        }
        // A future that is dropped inside a transaction leaves its connection marked as broken.
        let outcome = timeout_at(deadline, work(&mut pooled.connection)).await;
        let outcome = match outcome.unwrap_or(Err(DatabaseError::TimedOut)) {
            Err(error) => Err(classify(&mut pooled.connection, error, begun, deadline).await),
            done => done,
        };
        if let Err(error) = &outcome {
            pooled.is_unusable = error.is_outcome_unknown() || error.is_read_only();
        }
        outcome
    }

    /// Whether the service can work: `read` succeeds, and the database takes writes. The start and the
    /// end of a failure are logged.
    pub async fn is_usable<T>(
        &self,
        read: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> bool {
        let checked = self
            .run_when_unlocked_within(CHECK_TIMEOUT, async |connection| {
                read(connection).await?;
                takes_writes(connection).await
            })
            .await;
        // Not a method call, because diesel adds a method `load` to every type.
        if !AtomicBool::load(&self.incidents.schema_expected, Ordering::Relaxed) {
            observe(&self.incidents.checking, &checked);
        }
        checked.is_ok()
    }

    async fn checkout(&self) -> Result<bb8::PooledConnection<'_, Manager>, DatabaseError> {
        self.pool.get().await.map_err(|error| match error {
            RunError::TimedOut => self
                .incidents
                .connecting
                .cause()
                .map_or(DatabaseError::Busy, DatabaseError::Unreachable),
            RunError::User(error) => DatabaseError::Unreachable(error.to_string()),
        })
    }
}

/// Classifies an error that Diesel does not explain. A server that ends the session may have committed
/// before, so the error counts as a rejection only if the session still works. A rejection after a
/// wait was caused by a lock or by a slow server: nothing was done, and the same work may succeed
/// later.
async fn classify(
    connection: &mut AsyncPgConnection,
    error: DatabaseError,
    begun: Instant,
    deadline: Instant,
) -> DatabaseError {
    let DatabaseError::Query(cause) = &error else {
        return error;
    };
    if !error.is_unexplained() {
        return error;
    }
    let has_waited = begun.elapsed() >= LOCK_TIMEOUT;
    let alive = timeout_at(deadline, connection.batch_execute("SELECT 1")).await;
    if !matches!(alive, Ok(Ok(()))) || connection.is_broken() {
        return DatabaseError::ConnectionLost(Arc::clone(cause));
    }
    if has_waited {
        DatabaseError::Locked(cause.to_string())
    } else {
        error
    }
}

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    read_only: bool,
}

pub(super) async fn takes_writes(connection: &mut AsyncPgConnection) -> Result<(), DatabaseError> {
    let statement = "SELECT current_setting('transaction_read_only')::bool AS read_only";
    let session: Session = sql_query(statement).get_result(connection).await?;
    if session.read_only {
        Err(DatabaseError::ReadOnly)
    } else {
        Ok(())
    }
}
