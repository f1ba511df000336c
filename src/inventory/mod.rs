//! The inventory service: routes → ledger, books (pure rules) → store.

pub mod ledger_batch;
mod routes;
mod store;

pub use routes::Inventory;
