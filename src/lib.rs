#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![doc = include_str!("../README.md")]

pub mod api;
pub mod audit;
pub mod cli;
pub mod demo;
pub mod describe;
pub mod domain;
pub mod gremlin;
pub mod healthcheck;
pub mod inventory;
pub mod load;
pub mod operator_client;
pub mod order;
pub mod orders;
pub mod payment;
pub mod platform;
pub mod prove;
pub mod retention;
pub mod soak;
pub mod stock;
pub mod testbed;
