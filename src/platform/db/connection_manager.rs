//! Opens the connections of a pool, sets their parameters, and detects those that are broken.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bb8::ManageConnection;
use diesel::result::ConnectionError;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

use super::spans::StatementSpans;
use super::timeouts::{IDLE_SESSION_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT, WORK_TIMEOUT};
use super::url::DatabaseUrl;
use crate::platform::observability::incident_log::IncidentLog;

pub type Pool = bb8::Pool<Manager>;

/// Opens the connections of a pool, and detects those that are broken.
pub struct Manager {
    pub url: DatabaseUrl,
    pub incidents: Arc<Incidents>,
}

/// A connection of a pool.
pub struct Pooled {
    pub connection: AsyncPgConnection,
    /// The server did not respond in time, or no longer takes writes. A new connection may reach
    /// another server.
    pub is_unusable: bool,
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = ConnectionError;

    async fn connect(&self) -> Result<Pooled, ConnectionError> {
        let opened = open(&self.url).await;
        match &opened {
            Ok(_) => self.incidents.unreachable.resolve(),
            Err(error) => self.incidents.unreachable.raise(error),
        };
        opened.map(|connection| Pooled {
            connection,
            is_unusable: false,
        })
    }

    /// Needs no round trip, because the connection notices when the server closes it.
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
    // A prepared statement keeps its plan. A plan that was made while a table was small must not
    // read the whole table after it has grown. Each query finds its rows by an index, so
    // sequential scans are off and plans do not depend on values. Without bitmap scans, rows
    // are found and locked in the order of the index.
    // A process that stalls for longer than a session may be idle loses the session. So it cannot
    // execute a statement about an order that was deleted meanwhile.
    let idle = IDLE_SESSION_TIMEOUT.as_millis();
    let settings = format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
         SET idle_session_timeout = {idle}; SET idle_in_transaction_session_timeout = {idle}; \
         SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; \
         SET plan_cache_mode = force_generic_plan"
    );
    let set = tokio::time::timeout(WORK_TIMEOUT, connection.batch_execute(&settings)).await;
    set.map_err(|_| ConnectionError::BadConnection("no response in time".to_owned()))?
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    connection.set_instrumentation(StatementSpans::default());
    Ok(connection)
}

/// The incidents that are logged once for all threads.
pub struct Incidents {
    pub unreachable: IncidentLog,
    pub unusable: IncidentLog,
    /// This process is still migrating the schema, so checks are expected to fail.
    pub is_migrating: AtomicBool,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            unreachable: IncidentLog::new("waiting for the database", "the database is reachable"),
            unusable: IncidentLog::new(
                "not ready: the database cannot be used",
                "ready: the database can be used",
            ),
            is_migrating: AtomicBool::new(false),
        }
    }
}
