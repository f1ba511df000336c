//! Runs work on the connections of one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bb8::RunError;
use diesel_async::AsyncPgConnection;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::classify::{classify, takes_writes};
use super::connection_manager::{Incidents, Manager, Pool};
use super::error::{DatabaseError, observe};
use super::metrics::DatabaseMetrics;
use super::timeouts::{LOCK_TIMEOUT, WORK_TIMEOUT};
use crate::platform::http::health;

/// Shorter than the timeout of `/health`, so that the check of a server that hangs ends here, where
/// its connection is closed.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1200);
/// Work that failed because of a lock is retried only if this much time is left. It covers another
/// wait for the lock, and delays on a busy machine.
const MIN_LOCK_RETRY_TIME: Duration = LOCK_TIMEOUT.saturating_mul(5);
const _: () = assert!(CHECK_TIMEOUT.as_millis() < health::CHECK_TIMEOUT.as_millis());

/// The pool of one thread. Clones share the pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    incidents: Arc<Incidents>,
    metrics: Arc<DatabaseMetrics>,
    /// One permit: of all work of the thread that waits for a lock, one at a time is retried. So
    /// the retries occupy one connection at most, and work without locks has the others.
    lock_retries: Arc<Semaphore>,
}

impl Database {
    pub(super) fn new(
        pool: Pool,
        incidents: Arc<Incidents>,
        metrics: Arc<DatabaseMetrics>,
    ) -> Self {
        Self {
            pool,
            incidents,
            metrics,
            lock_retries: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) fn metrics(&self) -> &DatabaseMetrics {
        &self.metrics
    }

    /// Runs work on one connection, within [`WORK_TIMEOUT`]. That includes the wait for a
    /// connection.
    ///
    /// # Errors
    /// Those of the work, and a [`DatabaseError`] if there is no connection or not enough time.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.run_within(WORK_TIMEOUT, work).await
    }

    /// Runs work as [`Database::run`] does, within another timeout.
    ///
    /// # Errors
    /// Those of [`Database::run`].
    pub async fn run_within<T>(
        &self,
        timeout: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let deadline = Instant::now() + timeout;
        self.run_once(deadline, deadline, work).await
    }

    /// Runs work as [`Database::run`] does. If the work fails because another session holds a lock,
    /// it is retried while enough time is left.
    ///
    /// # Errors
    /// Those of [`Database::run`].
    pub async fn run_with_lock_retries<T>(
        &self,
        work: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.run_with_lock_retries_within(WORK_TIMEOUT, work).await
    }

    /// Runs work as [`Database::run_with_lock_retries`] does, within another timeout.
    ///
    /// # Errors
    /// Those of [`Database::run`].
    pub async fn run_with_lock_retries_within<T>(
        &self,
        timeout: Duration,
        work: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let deadline = Instant::now() + timeout;
        // A retry must end before the deadline, even if it waits for the lock again. Otherwise its
        // outcome would be unknown.
        let last_start = Instant::now() + timeout.saturating_sub(MIN_LOCK_RETRY_TIME);
        let mut outcome = self.run_once(deadline, deadline, &work).await;
        while outcome.as_ref().is_err_and(DatabaseError::is_locked)
            && Instant::now() + LOCK_TIMEOUT < last_start
        {
            // Work that waits for the connection takes it meanwhile.
            tokio::time::sleep(LOCK_TIMEOUT).await;
            let Ok(Ok(_turn)) = timeout_at(last_start, self.lock_retries.acquire()).await else {
                break;
            };
            match self.run_once(last_start, deadline, &work).await {
                // The work was not started again.
                Err(DatabaseError::TooLate | DatabaseError::Busy) => break,
                retried => outcome = retried,
            }
        }
        outcome
    }

    /// Runs work once. It is not started after `start_by`, and is abandoned at `deadline`.
    ///
    /// # Errors
    /// Those of the work, and [`DatabaseError::TooLate`] if it was not started.
    pub async fn run_once<T>(
        &self,
        start_by: Instant,
        deadline: Instant,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut pooled = timeout_at(start_by, self.checkout())
            .await
            .map_err(|_| DatabaseError::TooLate)??;
        let started = Instant::now();
        if started > start_by {
            return Err(DatabaseError::TooLate);
        }
        // If the work is dropped inside a transaction, diesel-async marks the connection as broken.
        let outcome = timeout_at(deadline, work(&mut pooled.connection)).await;
        let outcome = match outcome.unwrap_or(Err(DatabaseError::TimedOut)) {
            Err(error) => Err(classify(&mut pooled.connection, error, started, deadline).await),
            done => done,
        };
        if let Err(error) = &outcome {
            pooled.is_unusable = error.is_outcome_unknown() || error.is_read_only();
        }
        outcome
    }

    /// Whether the database can be used: `read` succeeds, and the database takes writes. Logs when
    /// that begins to fail, and when it works again.
    pub async fn is_usable<T>(
        &self,
        read: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
    ) -> bool {
        let outcome = self
            .run_with_lock_retries_within(CHECK_TIMEOUT, async |connection| {
                read(connection).await?;
                takes_writes(connection).await
            })
            .await;
        // The path is explicit because Diesel adds a method `load` to every type.
        if !AtomicBool::load(&self.incidents.is_migrating, Ordering::Relaxed) {
            observe(&self.incidents.unusable, &outcome);
        }
        outcome.is_ok()
    }

    async fn checkout(&self) -> Result<bb8::PooledConnection<'_, Manager>, DatabaseError> {
        self.pool.get().await.map_err(|error| match error {
            RunError::TimedOut => self
                .incidents
                .unreachable
                .cause()
                .map_or(DatabaseError::Busy, DatabaseError::Unreachable),
            RunError::User(error) => DatabaseError::Unreachable(error.to_string()),
        })
    }
}
