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

/// Points between two steps, at which a test can let the process abort or stall.
pub const FAILPOINTS: &[&str] = &[
    "order.placed",
    "order.reserved",
    "order.charged",
    "order.confirmed",
    "order.failed",
    "order.pending",
    "order.released",
    "order.claimed",
];
