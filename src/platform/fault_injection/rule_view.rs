//! A rule as `GET /gremlin/rules` shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json::RuleJson;
use super::spec::RuleSpec;

/// A rule and how often it matched and fired
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Rule)]
pub struct RuleView {
    pub id: u32,
    #[serde(flatten)]
    #[schema(value_type = RuleJson)]
    pub spec: RuleSpec,
    /// `false`: the rule has ended, and is shown for one more minute.
    pub active: bool,
    /// The number of requests that matched the rule.
    pub matched: u64,
    /// The number of requests for which the rule fired.
    pub fired: u64,
    /// Seconds until the rule ends by `ttl_seconds`; null without it.
    pub remaining_seconds: Option<f64>,
    /// How many more times the rule may fire by `max_fires`; null without it.
    pub remaining_fires: Option<u64>,
}
