//! `valerix retention run`: lets old orders leave a running platform, or counts them.
//!
//! `client` asks the order service for one step after the other, and `report` adds up what they
//! did.

mod client;
mod report;

pub use client::{RetentionClient, Run};
pub use report::Report;
