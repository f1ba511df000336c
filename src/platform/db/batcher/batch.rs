//! The items of one transaction.

use super::pending::{Caller, Pending};
use crate::platform::db::error::DatabaseError;
use crate::platform::plural::count;

/// Items that are executed together, and their callers in the same order.
pub struct Batch<I, R> {
    pub items: Vec<I>,
    pub callers: Vec<Caller<R>>,
}

impl<I, R> Batch<I, R> {
    pub fn new(pending: impl IntoIterator<Item = Pending<I, R>>) -> Self {
        let (items, callers) = pending
            .into_iter()
            .map(|Pending { item, caller }| (item, caller))
            .unzip();
        Self { items, callers }
    }

    pub fn into_pending(self) -> impl Iterator<Item = Pending<I, R>> {
        self.items
            .into_iter()
            .zip(self.callers)
            .map(|(item, caller)| Pending { item, caller })
    }

    /// Sends each caller its result.
    pub fn succeed(self, results: Vec<R>) {
        for (caller, result) in self.callers.into_iter().zip(results) {
            caller.send(Ok(result));
        }
    }
}

/// Returns the error of work that did not return one result for each item.
pub fn wrong_count(results: usize, items: usize) -> DatabaseError {
    DatabaseError::Internal(format!(
        "a batch of {} has {}",
        count(items, "item"),
        count(results, "result")
    ))
}
