//! The result of one run: a load on the services, or on PostgreSQL alone.

use serde::Serialize;

use crate::database::DatabaseWork;
use crate::latency::Latency;
use crate::process_usage::Usage;

#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The number of orders that the database holds as confirmed, whatever was answered.
    pub orders: u32,
    pub per_second: f64,
    pub latency: Option<Latency>,
    /// The number of requests with an error status, or without an answer.
    pub failed: u32,
    #[serde(rename = "cost")]
    pub usage: Usage,
    /// `None` for a run of pgbench.
    pub work: Option<DatabaseWork>,
}
