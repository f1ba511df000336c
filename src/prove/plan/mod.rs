//! What a seed decides: every order, every fault, before which order each fault comes, and the
//! directed rounds.
//! Nothing here does I/O.

mod faults;
mod planned_order;
mod rounds;
mod schedule;
#[cfg(test)]
mod tests;

pub use faults::{MIN_DATABASE_RESTARTS, MIN_KILLS};
pub use planned_order::PlannedOrder;
pub use rounds::{DirectedRound, RoundFault};
pub use schedule::Plan;
