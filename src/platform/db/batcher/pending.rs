//! An item that a caller has submitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::platform::db::error::DatabaseError;
use crate::platform::deadline::Deadline;

/// An item that has no result yet, and its caller.
pub struct Pending<I, R> {
    pub item: I,
    pub caller: Caller<R>,
}

impl<I, R> Pending<I, R> {
    /// Starts the item. Returns `None` if its caller no longer waits, or has less than `min_time`
    /// or no time left. Without enough time, the caller gets [`DatabaseError::TooLate`].
    pub fn start(self, min_time: Duration) -> Option<Self> {
        let remaining = self.caller.deadline.remaining();
        if remaining.is_zero() || remaining < min_time {
            // The caller may still wait: its own timer can fire later than this.
            self.caller.send(Err(DatabaseError::TooLate));
            return None;
        }
        if self.caller.sender.is_closed() || !self.caller.progress.start() {
            return None;
        }
        Some(self)
    }

    /// Whether the item is not parked, or is to be retried now.
    pub fn is_due(&self, now: Instant) -> bool {
        let parked = self.caller.parked.as_ref();
        parked.is_none_or(|parked| parked.retry_at <= now)
    }

    /// See [`Parked::lock_is_undetected`].
    pub fn lock_is_undetected(&self) -> bool {
        let parked = self.caller.parked.as_ref();
        parked.is_some_and(|parked| parked.lock_is_undetected)
    }
}

/// The caller that waits for the result of an item.
pub struct Caller<R> {
    pub deadline: Deadline,
    pub progress: Arc<Progress>,
    pub sender: oneshot::Sender<Result<R, DatabaseError>>,
    /// `None` if the item has not waited for a lock.
    pub parked: Option<Parked>,
}

/// Whether an item was started. The caller and the worker share it: exactly one of starting and
/// abandoning an item succeeds. So a caller that abandons an item knows that it will never be
/// executed.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    const QUEUED: u8 = 0;
    const STARTED: u8 = 1;
    const ABANDONED: u8 = 2;

    /// Starts the item. Returns false if the caller has abandoned it.
    pub fn start(&self) -> bool {
        self.leave_queue_for(Self::STARTED)
    }

    /// Abandons the item. Returns false if it was started.
    pub fn abandon(&self) -> bool {
        self.leave_queue_for(Self::ABANDONED)
    }

    fn leave_queue_for(&self, next: u8) -> bool {
        self.0
            .compare_exchange(Self::QUEUED, next, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Queues the item again, after the server rejected it without doing anything.
    pub fn requeue(&self) {
        self.0.store(Self::QUEUED, Ordering::Release);
    }
}

/// How long an item waits for a lock of another session.
pub struct Parked {
    pub give_up_at: Instant,
    pub retry_at: Instant,
    /// Executing the item fails because of a lock that `find_locked` does not report.
    pub lock_is_undetected: bool,
}

impl<R> Caller<R> {
    /// Whether the caller no longer waits for the result.
    pub fn is_gone(&self) -> bool {
        self.sender.is_closed() || self.deadline.remaining() == Duration::ZERO
    }

    pub fn send(self, result: Result<R, DatabaseError>) {
        // Fails if the caller no longer waits.
        let _ = self.sender.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_enough_time_is_not_started_and_its_caller_gets_too_late() {
        for (time, min_time) in [(0, 0), (0, 5), (1, 5)] {
            let (sender, mut receiver) = oneshot::channel::<Result<(), _>>();
            let caller = Caller {
                deadline: Deadline::after(Duration::from_secs(time)),
                progress: Arc::default(),
                sender,
                parked: None,
            };
            let pending = Pending { item: (), caller };
            assert!(pending.start(Duration::from_secs(min_time)).is_none());
            let result = receiver.try_recv();
            assert!(
                matches!(result, Ok(Err(DatabaseError::TooLate))),
                "{result:?}"
            );
        }
    }
}
