//! `valerix demo`: runs the three services as supervised processes, on a private database or on the
//! one that `DATABASE_URL` names.

mod announcement;
mod campaign;
mod config;
mod control;
mod database;
mod database_access;
mod error;
mod private_data;
mod run;
mod services;
mod stock;

pub use config::Config;
pub use error::DemoError;
pub use private_data::running_database;
pub use run::run;
