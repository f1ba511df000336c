//! Batching: items that arrive while one transaction is in progress share the next one.
//!
//! A durable commit costs one flush of the disk, however many rows it changes, and the locks of
//! these rows are held until the flush is done. So one row cannot be changed more often per second
//! than the disk can flush, unless changes share transactions.
//!
//! Each kind of work has a [`Batcher`]. An idle batcher executes an item at once. Items that arrive
//! while a transaction is in progress form the batch of the next one. The module `gather` decides
//! how long a batch waits for further items. The module `worker` executes the batches, and decides
//! what happens to an item whose row is locked by another session.

mod batch;
mod gather;
mod handle;
mod pending;
mod spec;
#[cfg(test)]
mod tests;
mod worker;

pub use gather::InFlightGuard;
pub use handle::Batcher;
pub use spec::{BatchFn, BatchFuture, BatchSpec};
