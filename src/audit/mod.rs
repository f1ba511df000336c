//! Checks the invariants of the platform on a live database, or on the databases of the services
//! where each has its own.
//!
//! `run` opens a snapshot of the orders, `reader` checks the `invariants` in it and makes the
//! `report`. `remote_databases` first copies the tables that other databases have.

mod copy;
mod error;
mod invariants;
mod missing_tables;
mod reader;
mod recheck;
mod remote_databases;
mod report;
mod report_text;
mod run;
mod session;
mod suspicions;
mod tables;

pub use error::AuditError;
pub use remote_databases::RemoteDatabases;
pub use report::{Audit, HoldWithoutOrder, Invariant, Orders, Product};
pub use run::{run, run_within};
