//! `valerix gremlin tour`: a slow service, then each kind of fault, shown and checked step by step
//! on a running platform, or on one that is started for the tour.

mod checklist;
mod checks;
mod client;
mod config;
mod error;
mod faults;
mod narrator;
mod pause;
mod private_platform;
mod report;
mod run;

pub use config::Config;
pub use error::TourError;
pub use pause::Pause;
pub use report::Report;
pub use run::run;
