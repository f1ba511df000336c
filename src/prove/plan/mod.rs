//! What a seed decides: every order, what operators do with it, every delivery, every fault, before
//! which order each of these comes, and the directed rounds.
//! Nothing here does I/O.

mod draw_duration;
mod faults;
mod operator_plan;
mod planned_delivery;
mod planned_order;
mod rounds;
mod schedule;
#[cfg(test)]
mod tests;

pub use faults::{MIN_DATABASE_RESTARTS, MIN_KILLS};
pub use operator_plan::{OperatorAction, OperatorPlan, OperatorStart};
pub use planned_delivery::PlannedDelivery;
pub use planned_order::PlannedOrder;
pub use rounds::{DirectedRound, RoundFault};
pub use schedule::Plan;
