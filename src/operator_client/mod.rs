//! The client of the commands for operators, `valerix stock` and `valerix orders`: makes one
//! call to a service, and turns the answer into a result or an error for the user.

mod client;
mod error;

pub use client::{Changed, OperatorClient};
pub use error::OperatorError;
