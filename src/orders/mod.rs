//! `valerix orders`: lists and shows the orders of a running platform, cancels them, fulfils them,
//! and lets them be tried again.
//!
//! `client` talks to the order service. `report` prints what it answered: a `page` of orders, one
//! order in `detail`, or in one line what an order is now and what is left to do (`summary`).

mod client;
mod command;
mod detail;
mod page;
mod report;
mod summary;
#[cfg(test)]
mod tests;

pub use client::OrdersClient;
pub use command::{Command, Filter};
pub use report::Report;
