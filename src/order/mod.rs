//! The order service: routes → attempt (drives) → flow (pure rules), store | clients; view: rows →
//! answers.

mod admission;
mod audit_cache;
mod clients;
mod dashboard;
mod events;
pub mod idempotency;
pub mod metrics;
mod responses;
mod routes;
pub mod saga;
pub mod sla;
mod store;

pub use dashboard::assets::Dashboard;
pub use routes::{Config, OrderRole};
pub use store::Cursor;
