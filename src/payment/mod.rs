//! The payment service: routes → rules (pure), gateway | store.

pub mod gateway;
mod routes;
pub mod rules;
mod store;

pub use routes::PaymentRole;
