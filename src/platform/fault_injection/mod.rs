//! Fault injection: the gremlin breaks the service on request. Its state is in memory only and ends
//! with the process.
//!
//! `rule` and `rules` decide what happens to a request and have no I/O. `inbound` applies it to the
//! requests that the service receives, `outbound` to the calls that it makes.

pub mod exempt;
pub mod failpoint;
pub mod gremlin;
mod inbound;
pub mod json;
pub mod metrics;
mod outbound;
mod routes;
pub mod rule;
pub mod rules;
pub mod spec;
#[cfg(test)]
mod tests;

pub use gremlin::{Config, Gremlin, Latency};
pub use inbound::interfere;
pub use outbound::Call;
pub use routes::{Removed, RuleList, routes};
