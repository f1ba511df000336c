//! What a seed decides: every order, every fault, and before which order each fault comes.
//! Nothing here does I/O.

mod faults;
mod planned_order;
mod schedule;
#[cfg(test)]
mod tests;

pub use faults::{MIN_DATABASE_RESTARTS, MIN_KILLS};
pub use planned_order::PlannedOrder;
pub use schedule::Plan;
