//! The payment service: `routes` handle requests, [`gateway`] moves the money, `store` keeps one
//! row for each order.

mod charge;
mod forget;
pub mod gateway;
mod problems;
mod routes;
mod schema;
mod service;
mod store;

pub use service::{FAILPOINTS, PaymentService, RETENTION_FAILPOINTS};
