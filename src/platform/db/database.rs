//! Runs work on the connections of one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bb8::RunError;
use diesel_async::AsyncPgConnection;
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
        let mut pause = LOCK_TIMEOUT;
        loop {
            let outcome = self.run_once(deadline, deadline, &work).await;
            // The next attempt must end before the deadline, even if it waits for the lock again.
            // Otherwise its outcome would be unknown.
            let may_retry = outcome.as_ref().is_err_and(DatabaseError::is_locked)
                && Instant::now() + pause + MIN_LOCK_RETRY_TIME < deadline;
            if !may_retry {
                return outcome;
            }
            // The connection is back in the pool. Without this pause the next attempt would take it
            // again at once, before work that waits for one.
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
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
