//! Who goes along with a batch: those whose tasks are ready, and of those who come again and again, half.
//!
//! Customers who each wait for their answer before they come again fall out of step: one comes a little late, finds the
//! batch gone, and from then on goes round alone, ahead of the others, at the price of a transaction for itself. Half of
//! those under way in each batch keeps two cohorts going, one in this transaction and one in the steps after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

/// How often a batch lets the thread's other tasks have their turn: what they are about to ask for can still come along.
pub const TURNS: usize = 4;
/// How long a batch waits for half of those under way, at most.
const PATIENCE: Duration = Duration::from_millis(1);

/// Those under way now that each submit to a lane once. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Regulars(Arc<AtomicUsize>);

impl Regulars {
    /// One more, until it is dropped.
    #[must_use]
    pub fn join(&self) -> Regular {
        self.0.fetch_add(1, Ordering::Relaxed);
        Regular(Arc::clone(&self.0))
    }

    /// What makes a cohort: one, where at most two are under way.
    fn quorum(&self) -> usize {
        self.0.load(Ordering::Relaxed).div_ceil(2)
    }
}

/// One that is under way.
#[derive(Debug)]
pub struct Regular(Arc<AtomicUsize>);

impl Drop for Regular {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds to what was gathered whoever is to go along, `most` in all.
pub async fn gather<T>(queue: &mut Receiver<T>, gathered: &mut Vec<T>, most: usize, regulars: &Regulars) {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
        while gathered.len() < most
            && let Ok(waiter) = queue.try_recv()
        {
            gathered.push(waiter);
        }
    }
    if gathered.len() >= regulars.quorum().min(most) {
        return;
    }
    // Who does not come was in another step for longer, or has left: the batch goes without them.
    let _ = tokio::time::timeout(PATIENCE, async {
        while gathered.len() < regulars.quorum().min(most)
            && let Some(waiter) = queue.recv().await
        {
            gathered.push(waiter);
        }
    })
    .await;
}
