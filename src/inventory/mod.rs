//! The inventory service: `routes` handle requests, [`ledger_batch`] applies the rules of
//! [`crate::domain::ledger`] to a batch of them, `store` reads and writes the tables.

pub mod ledger_batch;
pub mod requests;
mod routes;
mod schema;
mod service;
mod store;

pub use service::{FAILPOINTS, InventoryService};
