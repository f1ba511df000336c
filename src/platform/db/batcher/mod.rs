//! Batching: requests that arrive while one transaction is under way share the next one.
//!
//! A durable commit costs a flush whatever it holds, and a row's lock is kept until that flush is
//! done: on a hot row only as many transactions end in a second as there are flushes. So each kind
//! of work has a [`Batcher`]. When it is idle, a request is carried out at once; when it is busy,
//! the requests that have gathered become one transaction when the one before is done. [`gather`]
//! decides what a batch waits for beyond that, and [`worker`] what happens to a request whose
//! row another session has locked.

mod gather;
mod handle;
mod pending;
mod spec;
#[cfg(test)]
mod tests;
mod worker;

pub use gather::InFlightGuard;
pub use handle::Batcher;
pub use spec::{Answers, BatchFn, BatchSpec};
