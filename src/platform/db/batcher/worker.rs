//! The task behind a batcher: flushes one batch after the other.
//!
//! A row that another session has locked must not hold up the rows beside it. The server waits for
//! a lock only briefly (`LOCK_TIMEOUT`) and then refuses the whole batch. The items whose rows are
//! locked leave the batch and are *parked*; the others are carried out. Parked items are looked at
//! again every [`LOCK_RETRY_INTERVAL`]: no connection waits for them, and while there are any, each
//! batch first asks which of its rows are locked, so that none waits again. An item is parked for
//! part of its caller's time at most; then its caller gets `DatabaseError::Locked`: nothing was
//! done.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus::{Histogram, IntCounter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gather::{self, InFlight};
use super::pending::{Caller, Parked, Pending, Progress};
use super::spec::Execute;
use crate::platform::db::error::DatabaseError;
use crate::platform::db::timeouts::WORK_TIMEOUT;
use crate::platform::deadline::Deadline;

/// Items in one transaction.
const MAX_BATCH: usize = 128;
/// How often parked items are tried again.
pub const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(25);
/// The same for an item whose lock cannot be seen, because trying it makes the batcher wait: its
/// key is being inserted by another transaction, or the whole table is locked.
const UNSEEN_LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Share of a caller's remaining time for which its item is parked. Short enough that the caller
/// does not take this service for a slow one.
const MAX_PARKED_SHARE: f64 = 0.3;
const MAX_PARKED_TIME: Duration = Duration::from_secs(1);
/// Items tried one by one that may meet a lock before the rest are taken to be locked too.
const MAX_LOCKED_IN_A_ROW: usize = 3;

/// What a batcher reports of itself.
pub struct BatchMetrics {
    pub sizes: Histogram,
    pub locked: IntCounter,
}

/// Items that are carried out together, and their callers, in the same order.
struct Batch<I, A> {
    items: Vec<I>,
    callers: Vec<Caller<A>>,
}

impl<I, A> Batch<I, A> {
    fn new(pending: impl IntoIterator<Item = Pending<I, A>>) -> Self {
        let (items, callers) = pending
            .into_iter()
            .map(|Pending { item, caller }| (item, caller))
            .unzip();
        Self { items, callers }
    }

    fn into_pending(self) -> impl Iterator<Item = Pending<I, A>> {
        self.items
            .into_iter()
            .zip(self.callers)
            .map(|(item, caller)| Pending { item, caller })
    }
}

pub struct Worker<I, A, E> {
    queue: mpsc::Receiver<Pending<I, A>>,
    in_flight: InFlight,
    min_time: Duration,
    metrics: Option<BatchMetrics>,
    executor: E,
    gathered: Vec<Pending<I, A>>,
    parked: Vec<Pending<I, A>>,
}

impl<I: Send + Sync + 'static, A: Send + 'static, E: Execute<I, A>> Worker<I, A, E> {
    pub fn new(
        queue: mpsc::Receiver<Pending<I, A>>,
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

    /// Ends when every handle of the batcher is dropped and nothing is parked.
    pub async fn run(mut self) {
        while self.receive().await {
            self.flush().await;
        }
    }

    /// Waits for items, or until parked ones are to be tried again.
    async fn receive(&mut self) -> bool {
        if self.parked.is_empty() {
            if self.queue.recv_many(&mut self.gathered, MAX_BATCH).await == 0 {
                return false;
            }
        } else {
            let received = self.queue.recv_many(&mut self.gathered, MAX_BATCH);
            if let Ok(0) = tokio::time::timeout(LOCK_RETRY_INTERVAL, received).await {
                tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
            }
        }
        if !self.gathered.is_empty() {
            gather::gather(
                &mut self.queue,
                &mut self.gathered,
                MAX_BATCH,
                &self.in_flight,
            )
            .await;
        }
        true
    }

    async fn flush(&mut self) {
        let expects_locks = !self.parked.is_empty();
        let now = Instant::now();
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|pending| {
                pending
                    .caller
                    .parked
                    .as_ref()
                    .is_none_or(|parked| parked.retry_at <= now)
            });
        self.parked = waiting;
        let candidates = due.into_iter().chain(std::mem::take(&mut self.gathered));
        let mut batch = Batch::new(candidates.filter_map(|pending| begin(pending, self.min_time)));
        if expects_locks {
            batch = self.park_locked(batch).await;
        }
        let unseen = |pending: &Pending<I, A>| {
            pending
                .caller
                .parked
                .as_ref()
                .is_some_and(|parked| parked.unseen)
        };
        let (unseen, batch): (Vec<_>, Vec<_>) = batch.into_pending().partition(unseen);
        self.carry_out(Batch::new(batch)).await;
        self.carry_out(Batch::new(unseen)).await;
    }

    async fn carry_out(&mut self, batch: Batch<I, A>) {
        if batch.items.is_empty() {
            return;
        }
        if let Some(metrics) = &self.metrics {
            #[expect(
                clippy::cast_precision_loss,
                reason = "at most MAX_BATCH, and what was parked"
            )]
            metrics.sizes.observe(batch.items.len() as f64);
        }
        match self.attempt(&batch.items, &batch.callers).await {
            Ok(answers) => answer_all(batch, answers),
            Err(error) if error.is_locked() && batch.items.len() > 1 => {
                let rest = self.park_locked(batch).await;
                if rest.items.is_empty() {
                    return;
                }
                match self.attempt(&rest.items, &rest.callers).await {
                    Ok(answers) => answer_all(rest, answers),
                    Err(error) => self.carry_out_each(rest, error).await,
                }
            }
            Err(error) => self.carry_out_each(batch, error).await,
        }
    }

    /// One bad item must not fail its neighbours. A database in trouble is not asked again for each
    /// of them.
    async fn carry_out_each(&mut self, batch: Batch<I, A>, mut failure: DatabaseError) {
        let alone = batch.items.len() == 1;
        let mut locked_in_a_row = 0;
        let mut parked: Vec<Option<Caller<A>>> = Vec::new();
        for (index, caller) in batch.callers.into_iter().enumerate() {
            let taken_as_locked = failure.is_locked() && locked_in_a_row >= MAX_LOCKED_IN_A_ROW;
            let outcome = if alone || taken_as_locked || !failure.is_refusal() {
                Err(failure.clone())
            } else if caller.is_gone() {
                Err(DatabaseError::TooLate)
            } else {
                let answers = self
                    .attempt(&batch.items[index..=index], std::slice::from_ref(&caller))
                    .await;
                answers.and_then(|mut answers| answers.pop().ok_or_else(|| wrong_count(0, 1)))
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
                        && !error.is_refusal()
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

    /// When a batch must be begun. Without a time that its items need, a caller that is almost out
    /// of time does not hurry the others.
    fn begin_by(&self, callers: &[Caller<A>]) -> Instant {
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

    async fn attempt(&self, items: &[I], callers: &[Caller<A>]) -> Result<Vec<A>, DatabaseError> {
        let answers = guarded(self.executor.execute(items, self.begin_by(callers))).await?;
        if answers.len() == items.len() {
            Ok(answers)
        } else {
            Err(wrong_count(answers.len(), items.len()))
        }
    }

    /// Parks the items whose rows are locked, and returns the others.
    async fn park_locked(&mut self, batch: Batch<I, A>) -> Batch<I, A> {
        if batch.items.is_empty() {
            return batch;
        }
        let locked = match guarded(self.executor.find_locked(&batch.items)).await {
            Ok(locked) if locked.len() == batch.items.len() => locked,
            // The table itself is locked.
            Err(error) if error.is_locked() => {
                batch
                    .into_pending()
                    .for_each(|pending| self.park(pending, &error, true));
                return Batch::new([]);
            }
            // Only a question was asked: the work will meet the same trouble, and say so.
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

    /// Lets an item wait for a lock, or tells its caller of the lock where it has waited long
    /// enough. The server refused the item, or was not asked for it.
    fn park(&mut self, mut pending: Pending<I, A>, cause: &DatabaseError, seen: bool) {
        let now = Instant::now();
        let Caller {
            deadline,
            parked,
            progress,
            ..
        } = &mut pending.caller;
        let remaining = deadline.remaining();
        let first_time = parked.is_none();
        let state = parked.get_or_insert_with(|| Parked {
            give_up_at: now + remaining.mul_f64(MAX_PARKED_SHARE).min(MAX_PARKED_TIME),
            retry_at: now,
            unseen: false,
        });
        state.unseen = !seen && !first_time;
        state.retry_at = if state.unseen {
            now + UNSEEN_LOCK_RETRY_INTERVAL
        } else {
            now
        };
        if now >= state.give_up_at || remaining < self.min_time {
            return pending.caller.send(Err(cause.clone()));
        }
        if first_time && let Some(metrics) = &self.metrics {
            metrics.locked.inc();
        }
        Progress::undo(progress);
        self.parked.push(pending);
    }
}

/// Marks an item as begun. Nothing where its caller has left, or where too little time is left,
/// which its caller is told.
fn begin<I, A>(pending: Pending<I, A>, min_time: Duration) -> Option<Pending<I, A>> {
    if pending.caller.is_gone() || !pending.caller.progress.begin() {
        return None;
    }
    if pending.caller.deadline.remaining() < min_time {
        pending.caller.send(Err(DatabaseError::TooLate));
        return None;
    }
    Some(pending)
}

fn answer_all<I, A>(batch: Batch<I, A>, answers: Vec<A>) {
    for (caller, answer) in batch.callers.into_iter().zip(answers) {
        caller.send(Ok(answer));
    }
}

fn wrong_count(answers: usize, items: usize) -> DatabaseError {
    DatabaseError::Internal(format!("a batch of {items} items gave {answers} answers"))
}

/// A panic in one batch must not end the worker for all that come after it.
async fn guarded<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(DatabaseError::Internal("a batch panicked".to_owned())))
}
