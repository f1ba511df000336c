//! The handle with which callers submit items.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::gather::{InFlight, InFlightGuard};
use super::pending::{Caller, Pending, Progress};
use super::spec::{BatchSpec, DatabaseExecutor, Execute};
use super::worker::{BatchMetrics, Worker};
use crate::platform::db::database::Database;
use crate::platform::db::error::DatabaseError;
use crate::platform::db::spans;
use crate::platform::db::timeouts::WORK_TIMEOUT;
use crate::platform::deadline::Deadline;

/// Upper bound on the queued items. Further items are rejected.
pub(super) const MAX_QUEUED_ITEMS: usize = 2048;

/// Executes the items of one kind of work in batches, on one thread. `I` is an item and `R` its
/// result. Clones share the queue.
pub struct Batcher<I, R> {
    /// The SQL that the spans of items show.
    statement: &'static str,
    queue: mpsc::Sender<Pending<I, R>>,
    in_flight: InFlight,
}

impl<I, R> Clone for Batcher<I, R> {
    fn clone(&self) -> Self {
        Self {
            statement: self.statement,
            queue: self.queue.clone(),
            in_flight: self.in_flight.clone(),
        }
    }
}

impl<I: Send + Sync + 'static, R: Send + 'static> Batcher<I, R> {
    /// Starts a batcher on the current thread, to which the pool of `database` must belong.
    #[must_use]
    pub fn start(database: &Database, spec: BatchSpec<I, R>) -> Self {
        let metrics = database.metrics();
        let metrics = BatchMetrics {
            sizes: metrics.batch_size.with_label_values(&[spec.name]),
            parked_items: metrics.batch_locked_items.with_label_values(&[spec.name]),
        };
        let executor = DatabaseExecutor {
            database: database.clone(),
            spec,
        };
        Self::start_with(spec.statement, spec.min_time, Some(metrics), executor)
    }

    pub(super) fn start_with(
        statement: &'static str,
        min_time: Duration,
        metrics: Option<BatchMetrics>,
        executor: impl Execute<I, R>,
    ) -> Self {
        let (queue, receiver) = mpsc::channel(MAX_QUEUED_ITEMS);
        let in_flight = InFlight::default();
        tokio::spawn(Worker::new(receiver, in_flight.clone(), min_time, metrics, executor).run());
        Self {
            statement,
            queue,
            in_flight,
        }
    }

    /// Counts a caller that submits exactly one item and then has other steps, until the guard is
    /// dropped. A batch waits up to 1 ms for half of these callers.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.in_flight.enter()
    }

    /// Queues an item, and waits for its result until the deadline, or for at most
    /// [`WORK_TIMEOUT`].
    ///
    /// # Errors
    /// Those of the work. [`DatabaseError::QueueFull`] if too many items are queued, and
    /// [`DatabaseError::TooLate`] if the item was not started in time: in both cases it never will
    /// be.
    pub async fn submit(&self, item: I, deadline: Deadline) -> Result<R, DatabaseError> {
        let _span = spans::item_span(self.statement);
        let (sender, receiver) = oneshot::channel();
        let progress = Arc::<Progress>::default();
        let caller = Caller {
            deadline,
            progress: Arc::clone(&progress),
            sender,
            parked: None,
        };
        self.queue
            .try_send(Pending { item, caller })
            .map_err(|error| match error {
                TrySendError::Full(_) => DatabaseError::QueueFull(MAX_QUEUED_ITEMS),
                TrySendError::Closed(_) => worker_has_ended(),
            })?;
        let limit = deadline.remaining().min(WORK_TIMEOUT);
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(worker_has_ended()),
            Err(_) if progress.abandon() => Err(DatabaseError::TooLate),
            Err(_) => Err(DatabaseError::TimedOut),
        }
    }
}

fn worker_has_ended() -> DatabaseError {
    DatabaseError::Internal("the batch worker has ended".to_owned())
}
