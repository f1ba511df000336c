//! The payment service: routes → rules (pure), gateway | store.

pub mod gateway;
mod routes;
mod store;

pub use routes::PaymentRole;
