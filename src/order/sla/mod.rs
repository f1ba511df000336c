//! The service level: the latency of `POST /orders` over the last 30 s and 10 minutes, of all
//! replicas together.
//!
//! Each replica measures its own requests in memory. [`Replication`] exchanges what the replicas
//! have measured, by a table.

mod latency_histogram;
mod replication;
mod report;
mod step;
mod store;
mod window;

pub use replication::Replication;
pub use report::{History, Point, Sla};
pub use window::Window;
