//! What a seed decides: every request, every fault, and before which request each fault comes.
//! Nothing here does I/O.

mod faults;
mod request;
mod schedule;
#[cfg(test)]
mod tests;

pub use faults::{MIN_DATABASE_RESTARTS, MIN_KILLS};
pub use request::Request;
pub use schedule::Plan;
