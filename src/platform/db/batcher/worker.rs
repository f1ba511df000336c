//! The task behind a batcher: executes one batch after the other.
//!
//! An item whose row is locked by another session must not hold up the other items of its batch.
//! The server waits for a lock only briefly (`LOCK_TIMEOUT`) and then rejects the whole batch. The
//! worker then parks the items whose rows are locked, and executes the others.
//!
//! The worker retries parked items every [`LOCK_RETRY_INTERVAL`]. Parked items occupy no
//! connection. While there are any, the worker asks before each batch which of its rows are locked,
//! so that the batch does not wait for their locks again. An item is parked for at most a share of
//! its caller's remaining time. Then its caller gets [`DatabaseError::Locked`], and nothing was
//! done.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus::{Histogram, IntCounter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{Batch, wrong_count};
use super::gather::{self, InFlight};
use super::pending::{Caller, Parked, Pending};
use super::spec::Execute;
use crate::platform::db::error::DatabaseError;
use crate::platform::db::timeouts::WORK_TIMEOUT;
use crate::platform::deadline::Deadline;

/// Upper bound on the items that one transaction takes from the queue.
const MAX_BATCH_SIZE: usize = 128;
/// How often parked items are retried.
pub const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(25);
/// How often an item is retried if `find_locked` does not report its lock: another transaction is
/// inserting the same key, or the table is locked against changes. It is longer, because each retry
/// makes the batcher wait for the lock.
const UNDETECTED_LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Upper bound on the time for which an item is parked, as a share of its caller's remaining time.
/// It is small, so that the caller's circuit breaker does not count the call as slow.
const MAX_PARKED_SHARE: f64 = 0.3;
/// Upper bound on the time for which an item is parked.
const MAX_PARKED_TIME: Duration = Duration::from_secs(1);
/// After this many consecutive items that fail because of a lock, the remaining items of the batch
/// are assumed to be locked as well.
const MAX_LOCKED_IN_A_ROW: usize = 3;

/// The metrics of one batcher.
pub struct BatchMetrics {
    pub sizes: Histogram,
    pub parked_items: IntCounter,
}

/// Executes the items that callers submit. `E` is the [`Execute`] implementation.
pub struct Worker<I, R, E> {
    queue: mpsc::Receiver<Pending<I, R>>,
    in_flight: InFlight,
    min_time: Duration,
    metrics: Option<BatchMetrics>,
    executor: E,
    /// The items of the next batch.
    gathered: Vec<Pending<I, R>>,
    /// Items that wait for a lock of another session.
    parked: Vec<Pending<I, R>>,
}

impl<I: Send + Sync + 'static, R: Send + 'static, E: Execute<I, R>> Worker<I, R, E> {
    pub fn new(
        queue: mpsc::Receiver<Pending<I, R>>,
        in_flight: InFlight,
        min_time: Duration,
        metrics: Option<BatchMetrics>,
        executor: E,
    ) -> Self {
        Self {
            queue,
            in_flight,
            min_time,
            metrics,
            executor,
            gathered: Vec::new(),
            parked: Vec::new(),
        }
    }

    /// Executes batches until every handle of the batcher is dropped and no item is parked.
    pub async fn run(mut self) {
        while self.receive().await {
            self.flush().await;
        }
    }

    /// Gathers the items of the next batch. If items are parked, it waits for new ones for at most
    /// [`LOCK_RETRY_INTERVAL`]. Returns false when there will be no further items.
    async fn receive(&mut self) -> bool {
        if self.parked.is_empty() {
            if self
                .queue
                .recv_many(&mut self.gathered, MAX_BATCH_SIZE)
                .await
                == 0
            {
                return false;
            }
        } else {
            let received = self.queue.recv_many(&mut self.gathered, MAX_BATCH_SIZE);
            // The queue is closed: only retries of parked items remain. `recv_many` returns at
            // once.
            if let Ok(0) = tokio::time::timeout(LOCK_RETRY_INTERVAL, received).await {
                tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
            }
        }
        if !self.gathered.is_empty() {
            gather::gather(
                &mut self.queue,
                &mut self.gathered,
                MAX_BATCH_SIZE,
                &self.in_flight,
            )
            .await;
        }
        true
    }

    /// Executes the gathered items and the parked ones that are due.
    async fn flush(&mut self) {
        let expects_locks = !self.parked.is_empty();
        let now = Instant::now();
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|pending| pending.is_due(now));
        self.parked = waiting;
        let candidates = due.into_iter().chain(std::mem::take(&mut self.gathered));
        let mut batch = Batch::new(candidates.filter_map(|pending| pending.start(self.min_time)));
        if expects_locks {
            batch = self.park_locked(batch).await;
        }
        // Items with undetected locks would fail the others, so they have a batch of their own.
        let (undetected, others): (Vec<_>, Vec<_>) =
            batch.into_pending().partition(Pending::lock_is_undetected);
        self.execute(Batch::new(others)).await;
        self.execute(Batch::new(undetected)).await;
    }

    /// Executes a batch. If it fails because of a lock, the items whose rows are locked are parked
    /// and the others are executed without them.
    async fn execute(&mut self, batch: Batch<I, R>) {
        if batch.items.is_empty() {
            return;
        }
        if let Some(metrics) = &self.metrics {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            metrics.sizes.observe(batch.items.len() as f64);
        }
        match self.attempt(&batch.items, &batch.callers).await {
            Ok(results) => batch.succeed(results),
            Err(error) if error.is_locked() && batch.items.len() > 1 => {
                let rest = self.park_locked(batch).await;
                if rest.items.is_empty() {
                    return;
                }
                match self.attempt(&rest.items, &rest.callers).await {
                    Ok(results) => rest.succeed(results),
                    Err(error) => self.execute_one_by_one(rest, error).await,
                }
            }
            Err(error) => self.execute_one_by_one(batch, error).await,
        }
    }

    /// Executes each item of a failed batch on its own, so that an item that the server rejects
    /// does not fail the others. After any other failure, such as an unreachable database, the
    /// remaining items fail with the same error and are not executed.
    async fn execute_one_by_one(&mut self, batch: Batch<I, R>, mut failure: DatabaseError) {
        let is_single = batch.items.len() == 1;
        let mut locked_in_a_row = 0;
        let mut parked: Vec<Option<Caller<R>>> = Vec::new();
        for (index, caller) in batch.callers.into_iter().enumerate() {
            let assumes_lock = failure.is_locked() && locked_in_a_row >= MAX_LOCKED_IN_A_ROW;
            let outcome = if is_single || assumes_lock || !failure.is_rejection() {
                Err(failure.clone())
            } else if caller.is_gone() {
                Err(DatabaseError::TooLate)
            } else {
                let results = self
                    .attempt(&batch.items[index..=index], std::slice::from_ref(&caller))
                    .await;
                results.and_then(|mut results| results.pop().ok_or_else(|| wrong_count(0, 1)))
            };
            parked.push(match outcome {
                Err(error) if error.is_locked() => {
                    locked_in_a_row += 1;
                    failure = error;
                    Some(caller)
                }
                outcome => {
                    locked_in_a_row = 0;
                    if let Err(error) = &outcome
                        && !error.is_rejection()
                    {
                        failure = error.clone();
                    }
                    caller.send(outcome);
                    None
                }
            });
        }
        for (item, caller) in batch.items.into_iter().zip(parked) {
            if let Some(caller) = caller {
                self.park(Pending { item, caller }, &failure, false);
            }
        }
    }

    /// Returns until when a batch must be started. If items need a minimum time, the earliest
    /// deadline counts. Otherwise the latest one counts, so that a caller with little time left
    /// does not shorten the time of the others.
    fn start_by(&self, callers: &[Caller<R>]) -> Instant {
        let limit = Deadline::after(WORK_TIMEOUT);
        let deadlines = callers.iter().map(|caller| caller.deadline);
        if self.min_time.is_zero() {
            return deadlines
                .reduce(Deadline::max)
                .unwrap_or(limit)
                .min(limit)
                .earlier_by(self.min_time);
        }
        deadlines
            .fold(limit, Deadline::min)
            .earlier_by(self.min_time)
    }

    /// Executes items in one call of the executor.
    async fn attempt(&self, items: &[I], callers: &[Caller<R>]) -> Result<Vec<R>, DatabaseError> {
        let results = catch_panic(self.executor.execute(items, self.start_by(callers))).await?;
        if results.len() == items.len() {
            Ok(results)
        } else {
            Err(wrong_count(results.len(), items.len()))
        }
    }

    /// Parks the items whose rows are locked, and returns the others.
    async fn park_locked(&mut self, batch: Batch<I, R>) -> Batch<I, R> {
        if batch.items.is_empty() {
            return batch;
        }
        let locked = match catch_panic(self.executor.find_locked(&batch.items)).await {
            Ok(locked) if locked.len() == batch.items.len() => locked,
            // The whole table is locked.
            Err(error) if error.is_locked() => {
                batch
                    .into_pending()
                    .for_each(|pending| self.park(pending, &error, true));
                return Batch::new([]);
            }
            // Nothing was changed. If the cause lasts, executing the batch reports it.
            Ok(_) | Err(_) => return batch,
        };
        let mut rest = Vec::new();
        for (pending, locked) in batch.into_pending().zip(locked) {
            if locked {
                self.park(pending, &DatabaseError::row_locked(), true);
            } else {
                rest.push(pending);
            }
        }
        Batch::new(rest)
    }

    /// Parks an item that the server rejected or did not get, or fails it with `cause` if it has
    /// been parked for too long. `is_detected`: `find_locked` reported the lock.
    fn park(&mut self, mut pending: Pending<I, R>, cause: &DatabaseError, is_detected: bool) {
        let now = Instant::now();
        let Caller {
            deadline,
            parked,
            progress,
            ..
        } = &mut pending.caller;
        let remaining = deadline.remaining();
        let is_first_time = parked.is_none();
        let state = parked.get_or_insert_with(|| Parked {
            give_up_at: now + remaining.mul_f64(MAX_PARKED_SHARE).min(MAX_PARKED_TIME),
            retry_at: now,
            lock_is_undetected: false,
        });
        // On the first failure the lock may be newer than `find_locked`'s answer, so it does not
        // count as undetected yet.
        state.lock_is_undetected = !is_detected && !is_first_time;
        state.retry_at = if state.lock_is_undetected {
            now + UNDETECTED_LOCK_RETRY_INTERVAL
        } else {
            now
        };
        if now >= state.give_up_at || remaining < self.min_time {
            return pending.caller.send(Err(cause.clone()));
        }
        if is_first_time && let Some(metrics) = &self.metrics {
            metrics.parked_items.inc();
        }
        progress.requeue();
        self.parked.push(pending);
    }
}

/// Turns a panic into an error, so that the worker survives it.
async fn catch_panic<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(DatabaseError::Internal("a batch panicked".to_owned())))
}
