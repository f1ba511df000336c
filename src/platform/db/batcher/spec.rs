//! One kind of batched work, and how a batch of it is carried out.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::platform::db::error::DatabaseError;
use crate::platform::db::pool::Database;
use crate::platform::db::timeouts::WORK_TIMEOUT;

/// Works on all items in one transaction, and gives an answer for each, in their order. An error
/// says that nothing was done, or that the outcome is unknown
/// ([`DatabaseError::is_outcome_unknown`]).
pub type BatchFn<I, A> = for<'a> fn(&'a mut AsyncPgConnection, &'a [I]) -> Answers<'a, A>;

pub type Answers<'a, A> = BoxFuture<'a, Result<Vec<A>, DatabaseError>>;

/// One kind of work that is done in batches.
pub struct BatchSpec<I, A> {
    /// Label of its metrics.
    pub name: &'static str,
    /// The statement that each item takes part in, for its traces.
    pub statement: &'static str,
    pub execute: BatchFn<I, A>,
    /// Tells for each item whether it would have to wait for a row that another session has
    /// locked. Changes nothing.
    pub find_locked: Option<BatchFn<I, bool>>,
    /// An item with less time left is not begun.
    pub min_time: Duration,
}

impl<I, A> Clone for BatchSpec<I, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, A> Copy for BatchSpec<I, A> {}

/// Carries out batches; the tests do so without a database.
pub trait Execute<I, A>: Send + Sync + 'static {
    /// Not begun after `begin_by`.
    fn execute<'a>(&'a self, items: &'a [I], begin_by: Instant) -> Answers<'a, A>;

    fn find_locked<'a>(&'a self, items: &'a [I]) -> Answers<'a, bool>;
}

pub struct OnDatabase<I, A> {
    pub database: Database,
    pub spec: BatchSpec<I, A>,
}

impl<I: Send + Sync + 'static, A: Send + 'static> Execute<I, A> for OnDatabase<I, A> {
    fn execute<'a>(&'a self, items: &'a [I], begin_by: Instant) -> Answers<'a, A> {
        let limit = Instant::now() + WORK_TIMEOUT;
        let work =
            async |connection: &mut AsyncPgConnection| (self.spec.execute)(connection, items).await;
        self.database
            .run_once(begin_by.min(limit), limit, work)
            .boxed()
    }

    fn find_locked<'a>(&'a self, items: &'a [I]) -> Answers<'a, bool> {
        let Some(find_locked) = self.spec.find_locked else {
            return std::future::ready(Ok(vec![false; items.len()])).boxed();
        };
        let limit = Instant::now() + WORK_TIMEOUT;
        let work =
            async move |connection: &mut AsyncPgConnection| find_locked(connection, items).await;
        self.database.run_once(limit, limit, work).boxed()
    }
}
