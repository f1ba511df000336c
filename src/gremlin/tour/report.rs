//! The report of a tour.

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub passed: bool,
    /// The number of checks.
    pub checks: usize,
    /// The number of failed checks.
    pub failures: usize,
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub title: String,
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
