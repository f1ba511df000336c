//! The report of a tour.

use serde::Serialize;

use crate::api::tour::Chapter;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub passed: bool,
    /// The number of checks.
    pub checks: usize,
    /// The number of failed checks.
    pub failures: usize,
    /// Where the dashboard shows the same orders.
    pub dashboard: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub chapter: Chapter,
    pub findings: Vec<Finding>,
}

/// The result of a check, or a remark.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Since the start of the tour.
    pub seconds: f64,
    /// The check that was made. Absent for a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Absent for a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    pub found: String,
}
