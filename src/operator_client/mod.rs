//! The client of the commands for operators, `valerix stock` and `valerix orders`: one call to a
//! service, and what its answer means for the user of the command line.

mod client;
mod error;

pub use client::{Changed, OperatorClient};
pub use error::OperatorError;
