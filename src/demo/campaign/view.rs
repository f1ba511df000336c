//! `GET /demo/campaigns/current`: the latest campaign.

use serde::Serialize;
use serde_json::Value;

use super::request::{CampaignRequest, DEFAULT_ORDERS, ORDERS};

/// The state of the latest campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CampaignState {
    /// The demo has not run any campaign.
    None,
    Running,
    /// It was asked to stop, and ends its processes.
    Stopping,
    /// It reached a verdict.
    Ended,
    /// It was stopped before a verdict.
    Stopped,
    /// It could not run.
    Failed,
}

impl CampaignState {
    pub const fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Stopping)
    }
}

/// The numbers of orders that a campaign can have.
#[derive(Debug, Clone, Serialize)]
pub struct OrderLimits {
    min: u32,
    max: u32,
    default: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct CampaignView {
    pub state: CampaignState,
    pub order_limits: OrderLimits,
    /// `None` before the first campaign.
    pub seed: Option<u64>,
    /// The command that runs the same campaign without the demo.
    pub command: Option<String>,
    /// The latest line of `prove --progress json`.
    pub progress: Option<Value>,
    /// The report of `prove --json`, if there is a verdict.
    pub report: Option<Value>,
    /// Why the campaign could not run.
    pub error: Option<String>,
}

impl CampaignView {
    /// Before the first campaign.
    pub const fn none() -> Self {
        Self {
            state: CampaignState::None,
            order_limits: OrderLimits {
                min: *ORDERS.start(),
                max: *ORDERS.end(),
                default: DEFAULT_ORDERS,
            },
            seed: None,
            command: None,
            progress: None,
            report: None,
            error: None,
        }
    }

    pub fn started(request: &CampaignRequest, arguments: &[String]) -> Self {
        Self {
            state: CampaignState::Running,
            seed: Some(request.seed),
            command: Some(format!("valerix {}", arguments.join(" "))),
            ..Self::none()
        }
    }
}
