//! The payment service: routes → gateway | store.

pub mod gateway;
mod routes;
mod store;

pub use routes::PaymentRole;
