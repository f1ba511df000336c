//! The command line: reads every flag and environment variable, checks each value once, and turns
//! them into the configuration of a command.
//!
//! A command has a file with its arguments (`…Args`), its configuration (`config`) and the call
//! that runs it (`run`). `parse` is the entry: [`secret_files`] and [`environment`] prepare what
//! clap reads, [`parsers`] and [`number_parsers`] read single values, and [`clap_error`] turns an
//! error of clap into one line.

mod audit;
mod clap_error;
mod command;
mod completions;
mod default_urls;
mod demo;
mod describe;
mod environment;
mod error;
mod examples;
mod gremlin;
mod healthcheck;
mod inventory;
mod load;
mod migrate;
mod number_parsers;
mod operator_command;
mod order;
mod orders;
mod otlp;
mod outcome;
mod parse;
mod parsers;
mod payment;
mod prove;
mod retention;
mod secret_files;
mod service;
mod service_command;
mod shared;
mod soak;
mod stock;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod usage_tests;

pub use command::{Cli, Command};
pub use outcome::Outcome;
pub use parse::parse;
pub use parsers::{OtlpEndpoint, otlp_endpoint};
