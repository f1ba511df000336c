//! The handle by which callers submit items to a batcher.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::gather::{InFlight, InFlightGuard};
use super::pending::{Caller, Pending, Progress};
use super::spec::{BatchSpec, Execute, OnDatabase};
use super::worker::{BatchMetrics, Worker};
use crate::platform::db::error::DatabaseError;
use crate::platform::db::pool::Database;
use crate::platform::db::spans;
use crate::platform::db::timeouts::WORK_TIMEOUT;
use crate::platform::deadline::Deadline;

/// Items that may wait; more are rejected.
pub(super) const MAX_QUEUE: usize = 2048;

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
    pub fn start(database: &Database, spec: BatchSpec<I, A>) -> Self {
        let metrics = database.metrics();
        let metrics = BatchMetrics {
            sizes: metrics.batch_size.with_label_values(&[spec.name]),
            locked: metrics.batch_locked_items.with_label_values(&[spec.name]),
        };
        let executor = OnDatabase {
            database: database.clone(),
            spec,
        };
        Self::start_with(spec.statement, spec.min_time, Some(metrics), executor)
    }

    pub(super) fn start_with(
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
