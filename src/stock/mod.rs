//! `valerix stock`: lists the stock of a running platform, creates products and delivers units.
//!
//! `client` calls the inventory service; `report` prints the answer.

mod client;
mod command;
mod report;

pub use client::StockClient;
pub use command::Command;
pub use report::Report;
