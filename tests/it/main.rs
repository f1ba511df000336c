//! The platform from outside: real processes, a real PostgreSQL, a database for each test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod batches;
mod checklist;
mod configuration;
mod dashboard;
mod database;
mod degraded;
mod demo;
mod drills;
mod failover;
mod gremlin;
mod harness;
mod hostile;
mod http;
mod load;
mod observability;
mod page;
mod plans;
mod prove;
mod recovery;
mod schemathesis;
mod services;
mod stream;
mod tracing;
