//! A short chaos campaign that the demo's page starts: `valerix prove` as a child process, with
//! services and a database of its own.
//!
//! `campaigns` holds the latest campaign, `child` runs its process, and `routes` serves both at the
//! control address.

mod campaigns;
mod child;
mod request;
pub mod routes;
mod view;

pub use campaigns::Campaigns;
