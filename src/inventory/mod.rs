//! The inventory service: routes → ledger, books (pure rules) → store.

pub mod books;
pub mod ledger;
mod routes;
mod store;

pub use routes::Inventory;
