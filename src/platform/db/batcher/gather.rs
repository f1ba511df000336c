//! Decides which requests share a batch: all that are ready, and of the callers in flight, half.
//!
//! In a closed loop every client waits for its answer before it sends the next order. A client that
//! arrives just after a batch has left would be out of phase from then on, and pay for a
//! transaction of its own each round. Waiting briefly for half of the callers in flight keeps two
//! groups alternating: one in this transaction, one in the steps that follow it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

/// Yields to the thread's other tasks before a batch leaves, so that ready tasks can still join it.
pub const YIELDS_BEFORE_FLUSH: usize = 4;
/// Upper bound on waiting for half of the callers in flight.
const MAX_WAIT: Duration = Duration::from_millis(1);

/// Counts the callers that will submit exactly once to a batcher. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Registers a caller until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(Arc::clone(&self.0))
    }

    /// Batch size worth waiting for: half of the callers in flight. One or two callers never wait.
    fn target(&self) -> usize {
        self.0.load(Ordering::Relaxed).div_ceil(2)
    }
}

/// A caller in flight.
#[derive(Debug)]
pub struct InFlightGuard(Arc<AtomicUsize>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds to `gathered` the requests that are to share its batch, `max` in all.
pub async fn gather<T>(
    queue: &mut Receiver<T>,
    gathered: &mut Vec<T>,
    max: usize,
    in_flight: &InFlight,
) {
    for _ in 0..YIELDS_BEFORE_FLUSH {
        tokio::task::yield_now().await;
        while gathered.len() < max
            && let Ok(pending) = queue.try_recv()
        {
            gathered.push(pending);
        }
    }
    if gathered.len() >= in_flight.target().min(max) {
        return;
    }
    // A caller that does not come spends longer in another step, or has left: the batch leaves
    // without it.
    let _ = tokio::time::timeout(MAX_WAIT, async {
        while gathered.len() < in_flight.target().min(max)
            && let Some(pending) = queue.recv().await
        {
            gathered.push(pending);
        }
    })
    .await;
}
