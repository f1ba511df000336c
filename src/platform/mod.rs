//! What every role stands on. Nothing in here knows a role.

pub mod batch;
pub mod breaker;
pub mod bundle;
pub mod caller;
pub mod client;
pub mod crash;
pub mod database;
pub mod deadline;
pub mod dependency;
pub mod fields;
pub mod given;
pub mod gremlin;
pub mod health;
mod json_lines;
mod listener;
pub mod metrics;
pub mod names;
pub mod openapi;
pub mod problem;
pub mod response_stream;
pub mod runtimes;
pub mod server;
pub mod shutdown;
pub mod statements;
pub mod telemetry;
mod tls;
pub mod trouble;
