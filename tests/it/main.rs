//! Tests of the whole platform: real processes on a real PostgreSQL, with a database for each test.

#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap fails its test, which is what it should do"
)]

mod addresses;
mod audit;
mod audit_defects;
mod browsers;
mod cancel;
mod checklist;
mod configuration;
mod dashboard;
mod dashboard_accessibility;
mod dashboard_glance;
mod dashboard_keyboard;
mod dashboard_layout;
mod dashboard_operator;
mod dashboard_processes;
mod dashboard_story;
mod dashboard_timeline;
mod data_directory;
mod database_batches;
mod database_connection;
mod degraded;
mod demo;
mod demo_campaign;
mod demo_control;
mod demo_output;
mod describe;
mod disk;
mod drills;
mod failover;
mod framing;
mod fulfil;
mod gremlin;
mod harness;
mod hostile_input;
mod http;
mod limits;
mod load;
mod locks;
mod newer_version;
mod obligations;
mod observability;
mod operator_faults;
mod operator_races;
mod operator_token;
mod orders_command;
mod overload;
mod page;
mod peers;
mod plans;
mod pooler;
mod prove;
mod recovery;
mod replicas;
mod request_batches;
mod reserve_steps;
mod retry;
mod rollout;
mod schema;
mod schemathesis;
mod separate_databases;
mod service_unavailable;
mod services;
mod ship;
mod snapshots;
mod soak;
mod steps;
mod stock;
mod stock_command;
mod stock_faults;
mod stopping;
mod stream;
mod tracing;
