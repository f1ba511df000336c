//! The plan of a campaign. The seed decides every order and the operator actions on it, the
//! deliveries and faults with their positions among the orders, and the directed rounds. Nothing
//! here does I/O.

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
