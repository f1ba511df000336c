//! Batching: requests that arrive while one transaction is under way share the next one.
//!
//! A durable commit costs a flush whatever it holds, and a row's lock is kept until that flush is
//! done: on a hot row only as many transactions end in a second as there are flushes. So each kind
//! of work has a [`Batcher`]. When it is idle, a request is carried out at once; when it is busy,
//! the requests that have gathered become one transaction when the one before is done. [`gather`]
//! decides what a batch waits for beyond that, and [`worker`] what happens to a request whose
//! row another session has locked.

mod gather;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prometheus::{Histogram, IntCounter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Database, DatabaseError, WORK_TIMEOUT, spans};
use crate::platform::deadline::Deadline;
use crate::platform::http::server::Platform;
use gather::InFlight;
pub use gather::InFlightGuard;
use worker::Worker;

/// Items of one transaction.
const MAX_BATCH: usize = 128;
/// Items that may wait; more are rejected.
const MAX_QUEUE: usize = 2048;

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

/// An item and its caller.
struct Pending<I, A> {
    item: I,
    caller: Caller<A>,
}

/// Who waits for an item's answer.
struct Caller<A> {
    deadline: Deadline,
    progress: Arc<Progress>,
    answer: oneshot::Sender<Result<A, DatabaseError>>,
    parked: Option<worker::Parked>,
}

/// Whether an item was begun, agreed on by its caller and the worker. A caller that leaves before
/// it was begun knows that nothing was done, and nothing will be.
#[derive(Debug, Default)]
struct Progress(AtomicU8);

impl Progress {
    const QUEUED: u8 = 0;
    const BEGUN: u8 = 1;
    const ABANDONED: u8 = 2;

    /// False where the caller has left.
    fn begin(&self) -> bool {
        self.leave_queue_for(Self::BEGUN)
    }

    /// False where the item was begun.
    fn abandon(&self) -> bool {
        self.leave_queue_for(Self::ABANDONED)
    }

    fn leave_queue_for(&self, next: u8) -> bool {
        self.0
            .compare_exchange(Self::QUEUED, next, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The server refused it: as if it had not been begun.
    fn undo(&self) {
        self.0.store(Self::QUEUED, Ordering::Release);
    }
}

/// Where one kind of work of a thread queues. Clones share the queue.
pub struct Batcher<I, A> {
    statement: &'static str,
    queue: mpsc::Sender<Pending<I, A>>,
    in_flight: InFlight,
}

impl<I, A> Clone for Batcher<I, A> {
    fn clone(&self) -> Self {
        Self {
            statement: self.statement,
            queue: self.queue.clone(),
            in_flight: self.in_flight.clone(),
        }
    }
}

impl<I: Send + Sync + 'static, A: Send + 'static> Batcher<I, A> {
    /// For the thread it is called on, as the pool is.
    #[must_use]
    pub fn start(platform: &Platform, spec: BatchSpec<I, A>) -> Self {
        let metrics = BatchMetrics {
            sizes: platform.metrics.batch_items.with_label_values(&[spec.name]),
            locked: platform
                .metrics
                .batch_locked
                .with_label_values(&[spec.name]),
        };
        let executor = OnDatabase {
            database: platform.database.clone(),
            spec,
        };
        Self::start_with(spec.statement, spec.min_time, Some(metrics), executor)
    }

    fn start_with(
        statement: &'static str,
        min_time: Duration,
        metrics: Option<BatchMetrics>,
        executor: impl Execute<I, A>,
    ) -> Self {
        let (queue, receiver) = mpsc::channel(MAX_QUEUE);
        let in_flight = InFlight::default();
        tokio::spawn(Worker::new(receiver, in_flight.clone(), min_time, metrics, executor).run());
        Self {
            statement,
            queue,
            in_flight,
        }
    }

    /// Registers a caller that submits to this batcher once and then has other steps, until the
    /// guard is dropped. A batch waits a little for half of these callers.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.in_flight.enter()
    }

    /// Queues an item, and waits for its answer until its deadline.
    ///
    /// # Errors
    /// Those of the work. [`DatabaseError::Busy`] where too many items wait and
    /// [`DatabaseError::TooLate`] where the item was not begun in time: nothing was done then,
    /// and nothing will be.
    pub async fn submit(&self, item: I, deadline: Deadline) -> Result<A, DatabaseError> {
        let _span = spans::span(self.statement);
        let (answer, answered) = oneshot::channel();
        let progress = Arc::<Progress>::default();
        let caller = Caller {
            deadline,
            progress: Arc::clone(&progress),
            answer,
            parked: None,
        };
        self.queue
            .try_send(Pending { item, caller })
            .map_err(|_| DatabaseError::Busy)?;
        let limit = deadline.remaining().min(WORK_TIMEOUT);
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(DatabaseError::Internal(
                "the batch worker has ended".to_owned(),
            )),
            Err(_) if progress.abandon() => Err(DatabaseError::TooLate),
            Err(_) => Err(DatabaseError::TimedOut),
        }
    }
}

/// What a batcher reports of itself.
struct BatchMetrics {
    sizes: Histogram,
    locked: IntCounter,
}

/// Carries out batches; the tests do so without a database.
trait Execute<I, A>: Send + Sync + 'static {
    /// Not begun after `begin_by`.
    fn execute<'a>(&'a self, items: &'a [I], begin_by: Instant) -> Answers<'a, A>;

    fn find_locked<'a>(&'a self, items: &'a [I]) -> Answers<'a, bool>;
}

struct OnDatabase<I, A> {
    database: Database,
    spec: BatchSpec<I, A>,
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
