//! The service's connections.

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

/// Less than `/health` waits: a server that hangs is found out here, where its connection is then
/// closed, and not by being given up from outside.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1200);
const _: () = assert!(CHECK_TIMEOUT.as_millis() < health::DEADLINE.as_millis());

/// A pool for each thread that needs one, so that a statement's way to the server and back never
/// wakes another thread, and no connection dies with a thread that others still are using it from.
#[derive(Clone)]
pub struct Pools {
    url: DatabaseUrl,
    /// Connections of each pool, at most.
    size: u32,
    opened: Arc<Mutex<Vec<Pool>>>,
    incidents: Arc<Incidents>,
    metrics: Arc<DatabaseMetrics>,
}

/// What the whole process tells of once.
struct Incidents {
    connecting: IncidentLog,
    checking: IncidentLog,
    /// Until it is there, that nothing can be used is no news.
    schema_expected: AtomicBool,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            connecting: IncidentLog::new("waiting for the database", "the database is there"),
            checking: IncidentLog::new(
                "not ready: the database cannot be used",
                "the database can be used",
            ),
            schema_expected: AtomicBool::new(false),
        }
    }
}

impl Pools {
    /// For so many threads, which share out so many connections.
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

    /// A pool for this thread, whose runtime drives the connections. None is opened before it is
    /// needed.
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
            // The connection used last has its statements prepared and its caches warm; the others
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

    /// What is told of a database that cannot be connected to; for whoever connects past the pools.
    #[must_use]
    pub fn connecting(&self) -> &IncidentLog {
        &self.incidents.connecting
    }

    /// Whether the schema is still to be brought up to date, by whoever then says so.
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

/// How connections of a pool are opened and judged.
struct Manager {
    url: DatabaseUrl,
    incidents: Arc<Incidents>,
}

struct Pooled {
    connection: AsyncPgConnection,
    /// It did not answer in time, or its server takes no writes any more: a new one may find a
    /// better server.
    given_up: bool,
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
            given_up: false,
        })
    }

    /// Costs no round trip; a connection that the server closed is known as broken at once.
    async fn is_valid(&self, pooled: &mut Pooled) -> Result<(), ConnectionError> {
        if self.has_broken(pooled) {
            return Err(ConnectionError::BadConnection(
                "it broke while it was idle".to_owned(),
            ));
        }
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        std::thread::panicking() || pooled.given_up || pooled.connection.is_broken()
    }
}

async fn open(url: &DatabaseUrl) -> Result<AsyncPgConnection, ConnectionError> {
    let mut connection = url.connect().await?;
    let (statement, lock) = (STATEMENT_TIMEOUT.as_millis(), LOCK_TIMEOUT.as_millis());
    // A prepared statement keeps its plan. One made while a table was small must not read the whole
    // of it once it has grown: with an index to every row that a service looks up, reading
    // whole tables is left to the audit. So no plan depends on the values either, and none need
    // be made for them. Without bitmaps, rows are found, and locked, in the order of their
    // index.
    let settings = format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock}; SET jit = off; SET enable_seqscan = off;
         SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan"
    );
    let set = tokio::time::timeout(WORK_TIMEOUT, connection.batch_execute(&settings)).await;
    set.map_err(|_| ConnectionError::BadConnection("no answer in time".to_owned()))?
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    connection.set_instrumentation(Statements::default());
    Ok(connection)
}

/// One thread's pool.
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

    /// Runs work on one connection, within [`WORK_TIMEOUT`] as a whole.
    ///
    /// # Errors
    /// Those of the work, and [`DatabaseError`] where it could not be done in time.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.run_within(WORK_TIMEOUT, work).await
    }

    /// As [`Database::run`], within another limit as a whole.
    ///
    /// # Errors
    /// The same.
    pub async fn run_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let deadline = Instant::now() + limit;
        self.run_once(deadline, deadline, work).await
    }

    /// As [`Database::run`]. Work that meets a lock of another session was not done, and is tried
    /// again until the time is up.
    ///
    /// # Errors
    /// The same.
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

    /// Runs work once, on one connection. It is not begun after `begin_by`, and given up at
    /// `deadline`.
    ///
    /// # Errors
    /// Those of the work; [`DatabaseError::TooLate`] where it was not begun.
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
        // Work whose caller goes away inside a transaction leaves its connection marked broken by
        // itself.
        let outcome = timeout_at(deadline, work(&mut pooled.connection)).await;
        let outcome = match outcome.unwrap_or(Err(DatabaseError::TimedOut)) {
            Err(error) => Err(explained(&mut pooled.connection, error, begun, deadline).await),
            done => done,
        };
        if let Err(error) = &outcome {
            pooled.given_up = error.is_outcome_unknown() || error.is_read_only();
        }
        outcome
    }

    /// Whether a service can do its work: this can be read, and its database takes writes. Trouble
    /// is logged when it begins and when it is over.
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
        // Not as a method: diesel gives everything a `load`.
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

/// Finds out what an error without an explanation means. A server that ends the session may have
/// committed before, so a refusal is believed only where the session lives on. One that came after
/// a wait was caused by a lock, or by a server that is too slow: nothing was done, and the same
/// work may succeed later.
async fn explained(
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
