//! The order service: routes → attempt (drives) → flow (pure rules), store | clients; view: rows → answers.

mod attempt;
mod auditor;
mod clients;
pub mod flow;
pub mod idempotency;
mod page;
pub mod recovery;
mod routes;
pub mod sla;
mod store;
mod view;

pub use routes::{Config, OrderRole};
