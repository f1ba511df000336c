//! `valerix load`: places orders at a given rate, however long the answers take.
//!
//! The load is an open loop: each order is due at a fixed time, and its latency counts from that
//! time, even if it could be sent only later. Therefore a service that stalls shows long latencies.
//! A closed loop would only send fewer orders.

mod answers;
mod config;
mod judgement;
mod report;
mod run;
mod tally;
mod thresholds;

pub use config::Config;
pub use judgement::Judgement;
pub use report::{Latency, Report, Step};
pub use run::run;
pub use thresholds::{ErrorLimit, Thresholds};
