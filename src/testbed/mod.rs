//! Starts the three services as processes of their own, on a private PostgreSQL if need be: for
//! `demo`, `gremlin tour`, `prove`, `soak`, the benchmarks and the tests.
//!
//! `service_kind`, `addresses` and `environment` say what a service is started with; `process` and
//! `readiness` start one and wait for it; `services` holds all three, `cluster` adds a database,
//! and `supervisor` starts a service again when it ends.

pub mod addresses;
pub mod cluster;
pub mod environment;
pub mod error;
pub mod free_ports;
pub mod postgres;
pub mod process;
pub mod readiness;
pub mod recent_lines;
pub mod scratch_dir;
pub mod service_kind;
pub mod services;
pub mod supervisor;
