//! Logs, metrics and traces.

pub mod incident_log;
mod json_log;
pub mod metrics;
mod otlp;
mod plain_log;
pub mod task_metrics;
pub mod telemetry;
pub mod trace_context;
