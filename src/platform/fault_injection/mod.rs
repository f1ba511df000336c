//! Fault injection: the gremlin injects faults into a service on request, and failpoints abort or
//! stall a process for a test. The state of the gremlin is in memory only and ends with the
//! process.
//!
//! `rule` and `rules` decide what happens to a request, without I/O. `inbound` injects faults into
//! the requests that the service receives, `outbound` into the calls that it makes.

mod config;
pub mod exempt;
pub mod failpoint;
pub mod gremlin;
mod inbound;
pub mod json;
mod latency;
pub mod metrics;
mod outbound;
mod routes;
pub mod rule;
pub mod rule_view;
pub mod rules;
pub mod spec;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use gremlin::Gremlin;
pub use inbound::inject_faults;
pub use latency::Latency;
pub use outbound::Call;
pub use routes::{Removed, RuleList, routes};
