//! `valerix gremlin`: controls the gremlin of any service from the command line.
//!
//! `client` talks to one service's gremlin; `run` applies a command to several services and prints
//! their state as a `table`; `tour` shows each kind of fault on a running platform.

mod client;
mod command;
mod error;
mod run;
mod status;
mod table;
pub mod tour;

pub use client::GremlinClient;
pub use command::Command;
pub use error::GremlinError;
pub use run::{Target, run};
