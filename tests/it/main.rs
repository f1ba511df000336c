//! The platform from outside: real processes, a real PostgreSQL, a database for each test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod batches;
mod checklist;
mod configuration;
mod degraded;
mod demo;
mod harness;
mod http;
mod observability;
mod plans;
mod prove;
mod recovery;
mod services;
mod tracing;
