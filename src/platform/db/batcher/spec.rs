//! One kind of work, and how a batch of it is executed.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::platform::db::database::Database;
use crate::platform::db::error::DatabaseError;
use crate::platform::db::timeouts::WORK_TIMEOUT;

/// Executes all items in one transaction, and returns the result of each, in the order of the
/// items.
///
/// After an error nothing was done, or the outcome is unknown
/// ([`DatabaseError::is_outcome_unknown`]). The batcher relies on that: it executes items of a
/// failed batch again, and returns the error to their callers. So work that takes several
/// transactions needs a batcher for each.
pub type BatchFn<I, R> = for<'a> fn(&'a mut AsyncPgConnection, &'a [I]) -> BatchFuture<'a, R>;

/// The results of a batch, in the order of its items.
pub type BatchFuture<'a, R> = BoxFuture<'a, Result<Vec<R>, DatabaseError>>;

/// One kind of work that is executed in batches.
pub struct BatchSpec<I, R> {
    /// The value of the label `work` in its metrics.
    pub name: &'static str,
    /// The SQL that the spans of items show.
    pub statement: &'static str,
    pub execute: BatchFn<I, R>,
    /// Returns for each item whether executing it would wait for a row that another session has
    /// locked. Changes nothing. `None` for work that locks no existing row.
    pub find_locked: Option<BatchFn<I, bool>>,
    /// An item is not started with less time left than this.
    pub min_time: Duration,
}

impl<I, R> Clone for BatchSpec<I, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, R> Copy for BatchSpec<I, R> {}

/// Executes batches. The tests have an implementation without a database.
pub trait Execute<I, R>: Send + Sync + 'static {
    /// Executes a batch, unless it cannot be started until `start_by`.
    fn execute<'a>(&'a self, items: &'a [I], start_by: Instant) -> BatchFuture<'a, R>;

    /// See [`BatchSpec::find_locked`].
    fn find_locked<'a>(&'a self, items: &'a [I]) -> BatchFuture<'a, bool>;
}

/// Executes batches on a database.
pub struct DatabaseExecutor<I, R> {
    pub database: Database,
    pub spec: BatchSpec<I, R>,
}

impl<I: Send + Sync + 'static, R: Send + 'static> Execute<I, R> for DatabaseExecutor<I, R> {
    fn execute<'a>(&'a self, items: &'a [I], start_by: Instant) -> BatchFuture<'a, R> {
        let limit = Instant::now() + WORK_TIMEOUT;
        let work =
            async |connection: &mut AsyncPgConnection| (self.spec.execute)(connection, items).await;
        self.database
            .run_once(start_by.min(limit), limit, work)
            .boxed()
    }

    fn find_locked<'a>(&'a self, items: &'a [I]) -> BatchFuture<'a, bool> {
        let Some(find_locked) = self.spec.find_locked else {
            return std::future::ready(Ok(vec![false; items.len()])).boxed();
        };
        let limit = Instant::now() + WORK_TIMEOUT;
        let work =
            async move |connection: &mut AsyncPgConnection| find_locked(connection, items).await;
        self.database.run_once(limit, limit, work).boxed()
    }
}
