//! The order service.
//!
//! A request enters by `routes`. The executor in `saga` runs the order's attempt: it follows the
//! rules of [`crate::domain::saga`], calls inventory and payment by their `clients`, and writes to
//! the `store`.

mod admission;
mod audit_cache;
mod clients;
mod dashboard;
mod events;
pub mod idempotency;
pub mod metrics;
mod responses;
mod retention;
mod routes;
pub mod saga;
mod schema;
mod service;
pub mod sla;
mod store;

pub use dashboard::assets::Dashboard;
pub use dashboard::demo::DemoControl;
pub use retention::min_retention_days;
pub use service::{Config, OrderService};
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
    "order.refunded",
    "order.claimed",
    "order.cancelled",
    "order.fulfilment-requested",
    "order.shipped",
    "order.fulfilled",
];

/// Those that only the deletion of old orders passes.
pub const RETENTION_FAILPOINTS: &[&str] = &[
    "order.leaving",
    "order.reservations-forgotten",
    "order.payments-forgotten",
    "order.left",
];
