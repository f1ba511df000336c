//! Logs, metrics and traces.

pub mod incident_log;
mod json_log;
pub mod metrics;
mod otlp;
pub mod task_metrics;
pub mod telemetry;
