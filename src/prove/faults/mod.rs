//! Faults: what they are, how they are injected and ended, and what the services' logs show of
//! them.

mod database;
mod fault;
mod inject;
mod injector;
mod kind;
mod observed;

pub use fault::{Fault, OrdersLock};
pub use injector::FaultInjector;
pub use kind::FaultKind;
pub use observed::ObservedFaults;
