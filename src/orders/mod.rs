//! `valerix orders`: lists and shows the orders of a running platform, cancels them, fulfils them,
//! and retries them.
//!
//! `client` calls the order service. `report` prints the answer: a `page` of orders, one order in
//! `detail`, or a line with the state of an order and the work that is left (`summary`).

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
