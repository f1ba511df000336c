//! The platform from outside: real processes, a real PostgreSQL, a database for each test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by failing"
)]

mod addresses;
mod answers;
mod audit;
mod batches;
mod browsers;
mod bundles;
mod checklist;
mod configuration;
mod dashboard;
mod database;
mod databases;
mod degraded;
mod demo;
mod disk;
mod drills;
mod failover;
mod framing;
mod gremlin;
mod harness;
mod home;
mod hostile;
mod http;
mod limits;
mod load;
mod locks;
mod newer_release;
mod obligations;
mod observability;
mod page;
mod plans;
mod pooler;
mod prove;
mod recovery;
mod replicas;
mod rollout;
mod schemathesis;
mod services;
mod soak;
mod stopping;
mod stream;
mod tracing;
