//! Decides when a batch is flushed: once every ready task has joined, or after 1 ms if fewer than
//! half of the callers in flight have submitted an item.
//!
//! In a closed loop every client waits for the response before it sends the next request. A caller
//! that arrives just after a flush would be out of phase from then on, and need a transaction of
//! its own each round. Waiting briefly for half of the callers in flight keeps two groups
//! alternating: one in this transaction, one in the steps that follow it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

/// Upper bound on the yields to the thread's other tasks before a flush, so that ready tasks can
/// still join the batch. The first one during which no task joins is the last: an order that is
/// alone pays for one.
pub const MAX_YIELDS: usize = 4;
/// Upper bound on waiting for half of the callers in flight.
const MAX_WAIT: Duration = Duration::from_millis(1);

/// Counts callers from before their one `submit` until they are answered. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Counts a caller until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(Arc::clone(&self.0))
    }

    /// Returns the batch size worth waiting for: half of the callers in flight. So one or two
    /// callers never wait.
    fn target(&self) -> usize {
        self.0.load(Ordering::Relaxed).div_ceil(2)
    }
}

/// Counts one caller in flight until it is dropped.
#[derive(Debug)]
pub struct InFlightGuard(Arc<AtomicUsize>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Moves items from the queue to `gathered` until the batch is to be flushed or has `max` items.
pub async fn gather<T>(
    queue: &mut Receiver<T>,
    gathered: &mut Vec<T>,
    max: usize,
    in_flight: &InFlight,
) {
    for _ in 0..MAX_YIELDS {
        let before = gathered.len();
        tokio::task::yield_now().await;
        while gathered.len() < max
            && let Ok(pending) = queue.try_recv()
        {
            gathered.push(pending);
        }
        if gathered.len() == before {
            break;
        }
    }
    if gathered.len() >= in_flight.target().min(max) {
        return;
    }
    // A caller that does not arrive in time has left, or another of its steps takes longer. The
    // batch is flushed without it.
    let _ = tokio::time::timeout(MAX_WAIT, async {
        while gathered.len() < in_flight.target().min(max)
            && let Some(pending) = queue.recv().await
        {
            gathered.push(pending);
        }
    })
    .await;
}
