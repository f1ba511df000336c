//! An item that waits in a batcher, and its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::platform::db::error::DatabaseError;
use crate::platform::deadline::Deadline;

/// An item and its caller.
pub struct Pending<I, A> {
    pub item: I,
    pub caller: Caller<A>,
}

/// Who waits for an item's answer.
pub struct Caller<A> {
    pub deadline: Deadline,
    pub progress: Arc<Progress>,
    pub answer: oneshot::Sender<Result<A, DatabaseError>>,
    pub parked: Option<Parked>,
}

/// Whether an item was begun, agreed on by its caller and the worker. A caller that leaves before
/// it was begun knows that nothing was done, and nothing will be.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    const QUEUED: u8 = 0;
    const BEGUN: u8 = 1;
    const ABANDONED: u8 = 2;

    /// False where the caller has left.
    pub fn begin(&self) -> bool {
        self.leave_queue_for(Self::BEGUN)
    }

    /// False where the item was begun.
    pub fn abandon(&self) -> bool {
        self.leave_queue_for(Self::ABANDONED)
    }

    pub fn leave_queue_for(&self, next: u8) -> bool {
        self.0
            .compare_exchange(Self::QUEUED, next, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The server refused it: as if it had not been begun.
    pub fn undo(&self) {
        self.0.store(Self::QUEUED, Ordering::Release);
    }
}

/// Why and until when an item waits for a lock.
pub struct Parked {
    pub give_up_at: Instant,
    pub retry_at: Instant,
    /// Looking for locks did not show it.
    pub unseen: bool,
}

impl<A> Caller<A> {
    /// Nobody waits for the answer any more: an item that was not begun need not be.
    pub fn is_gone(&self) -> bool {
        self.answer.is_closed() || self.deadline.remaining() == Duration::ZERO
    }

    pub fn send(self, answer: Result<A, DatabaseError>) {
        // A caller that gave up meanwhile knows that the outcome is unknown to it.
        let _ = self.answer.send(answer);
    }
}
