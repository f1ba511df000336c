//! The state of a service's gremlin.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::platform::fault_injection::Latency;
use crate::platform::fault_injection::rule_view::RuleView;

#[derive(Debug, Serialize)]
pub struct Status {
    pub service: String,
    pub url: String,
    pub latency: Latency,
    pub rules: Vec<ListedRule>,
}

/// A rule as a service lists it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ListedRule {
    Known(Box<RuleView>),
    /// A rule of a kind that a newer service knows and this version does not.
    Unrecognized(Map<String, Value>),
}
