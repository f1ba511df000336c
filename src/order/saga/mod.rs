//! Runs the saga of [`crate::domain::saga`]: for requests and for recovery.

mod backoff;
pub mod executor;
pub mod operator_actions;
pub mod recovery;
mod steps;
