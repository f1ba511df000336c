//! The inventory service: `routes` and `ship_route` handle the requests of customers' orders, and
//! [`ledger_batch`] applies the rules of [`crate::domain::ledger`] to a batch of them.
//! `forget_route` deletes old reservations. `operator_routes` create products and take deliveries.
//! `store` reads and writes the tables.

mod forget_route;
pub mod ledger_batch;
mod metrics;
mod operator_routes;
mod problems;
pub mod requests;
mod routes;
mod schema;
mod service;
mod ship_route;
pub mod stock_level;
mod store;

pub use service::{FAILPOINTS, InventoryService, RETENTION_FAILPOINTS};
