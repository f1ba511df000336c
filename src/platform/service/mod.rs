//! A service: what it adds to the platform, how it is configured, and how it runs.

mod background;
mod config;
mod role;
mod routes;
mod run;

pub use config::{Config, StartError};
pub use role::{Platform, Role};
pub use routes::routes_of;
pub use run::run;
