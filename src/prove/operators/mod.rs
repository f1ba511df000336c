//! The operators of a campaign: they cancel, fulfil and retry orders, and deliver stock.

mod deliveries;
mod order_actions;
mod outcome;
mod trace;

#[cfg(test)]
pub use deliveries::DeliveryTry;
pub use deliveries::{Delivery, deliver};
#[cfg(test)]
pub use order_actions::ActionTry;
pub use order_actions::{KnownOrder, OrderAction, act};
pub use outcome::{ActionOutcome, DeliveryOutcome};
pub use trace::TRACE_ID_PREFIX;
