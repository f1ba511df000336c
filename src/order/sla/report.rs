//! The wire types of the service level.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /sla`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sla {
    pub window_seconds: u64,
    pub requests: u64,
    /// 0 without requests, as are the percentiles.
    pub average_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub threshold_ms: u64,
    /// `green`, or `red` when the average is above the threshold.
    #[schema(example = "green")]
    pub status: String,
}

/// `GET /sla/history`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    pub step_seconds: u64,
    /// The last 10 minutes, oldest first. A step without requests has zeros.
    pub points: Vec<Point>,
}

/// The requests of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When the step began: a multiple of its length since 1970, so that it is the same on every
    /// replica.
    pub at: DateTime<Utc>,
    pub requests: u64,
    pub average_ms: f64,
    pub p99_ms: f64,
}
