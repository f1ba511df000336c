//! `valerix gremlin tour`: tells the story of `api/story` on a running platform, or on one that is
//! started for the tour.
//!
//! `actions` carries out the script's actions; `orders`, `light` and `invariants` make the checks;
//! `narrator` prints them and collects the `report`.

mod actions;
mod client;
mod config;
mod error;
mod invariants;
mod light;
mod narrator;
mod orders;
mod pause;
mod placed_order;
mod private_platform;
mod report;
mod run;
mod verdict;

pub use config::Config;
pub use error::TourError;
pub use pause::Pause;
pub use report::Report;
pub use run::run;
