//! The platform from outside: real processes, a real PostgreSQL, a database for each test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod checklist;
mod configuration;
mod degraded;
mod demo;
mod gremlin;
mod harness;
mod hostile;
mod http;
mod load;
mod observability;
mod prove;
mod recovery;
mod schemathesis;
mod services;
mod tracing;
