//! The inventory service: routes → ledger (pure rules) → store.

pub mod ledger;
mod routes;
mod store;

pub use routes::Inventory;
