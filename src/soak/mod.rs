//! `valerix soak`: runs the platform under moderate load and faults for a chosen time, and looks
//! for anything that grows.
//!
//! `run` starts a cluster and the load, and alternates faults (`fault`) and samples (`sampler`).
//! `trend` then decides whether a metric grows, and `report` gives the result. No process is
//! killed, because a new process would hide what the old one had leaked.

mod config;
mod error;
mod fault;
mod report;
mod run;
mod sampler;
mod trend;

pub use config::Config;
pub use error::SoakError;
pub use report::{Report, Verdict};
pub use run::run;
