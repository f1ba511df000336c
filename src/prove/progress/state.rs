//! The state of a running campaign.

use std::collections::VecDeque;

use serde::Serialize;
use strum::Display;

use crate::prove::faults::{CampaignFault, CampaignFaultKind};
use crate::prove::recovery_path::RecoveryPath;
use crate::testbed::service_kind::ServiceKind;

/// The number of faults that [`Progress::last_faults`] has at most. Between two lines of JSON,
/// fewer faults begin.
const MAX_LAST_FAULTS: usize = 5;

/// A part of a campaign. After directed rounds, orders are settled a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Display)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[strum(serialize = "starting a database and services")]
    Starting,
    #[strum(serialize = "placing orders and injecting faults")]
    PlacingOrders,
    #[strum(serialize = "waiting until orders are settled")]
    Settling,
    #[strum(serialize = "directed rounds for what never ran")]
    DirectedRounds,
    #[strum(serialize = "comparing answers and database")]
    Checking,
}

/// The number of things that are done, of a total. A fault counts as done when it begins. Directed
/// rounds raise the total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub done: usize,
    pub total: usize,
}

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InjectedFault {
    /// The name of its kind in the report.
    pub fault: String,
    /// `order`, `inventory`, `payment` or `database`.
    pub service: &'static str,
    /// The effect in a few words.
    pub description: String,
}

impl InjectedFault {
    /// The pause of a service in a directed round, until each request was answered.
    pub fn pause(service: ServiceKind) -> Self {
        let kind = CampaignFaultKind::Pause(service);
        Self {
            fault: kind.to_string(),
            service: service.as_str(),
            description: format!("{service} paused until each request was answered"),
        }
    }
}

impl From<&CampaignFault> for InjectedFault {
    fn from(fault: &CampaignFault) -> Self {
        Self {
            fault: fault.kind().to_string(),
            service: fault.target(),
            description: fault.to_string(),
        }
    }
}

/// The recovery paths that were seen so far. They are counted when orders are settled, and in
/// directed rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveryPathsSeen {
    pub seen: Vec<String>,
    pub total: usize,
}

/// The progress of a campaign at one moment. Serialised, it is a line of `--progress json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    pub phase: Phase,
    /// Since the start of the campaign.
    pub seconds: f64,
    /// The orders whose customers send no further request.
    pub orders: Count,
    pub faults: Count,
    /// The faults that were injected last, newest first.
    pub last_faults: VecDeque<InjectedFault>,
    pub recovery_paths: RecoveryPathsSeen,
}

impl Progress {
    /// The progress of a campaign that has just begun.
    pub fn new(orders: usize, faults: usize) -> Self {
        let count = |total| Count { done: 0, total };
        Self {
            phase: Phase::Starting,
            seconds: 0.0,
            orders: count(orders),
            faults: count(faults),
            last_faults: VecDeque::new(),
            recovery_paths: RecoveryPathsSeen {
                seen: Vec::new(),
                total: RecoveryPath::ALL.len(),
            },
        }
    }

    pub fn push_fault(&mut self, fault: InjectedFault) {
        self.last_faults.push_front(fault);
        self.last_faults.truncate(MAX_LAST_FAULTS);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_faults_are_named_newest_first_with_their_service() {
        let mut progress = Progress::new(20, 40);
        let pause = CampaignFault::Pause {
            service: ServiceKind::Payment,
            duration: Duration::from_millis(1250),
        };
        for fault in [&CampaignFault::DatabaseKill; MAX_LAST_FAULTS] {
            progress.push_fault(fault.into());
        }
        progress.push_fault((&pause).into());
        assert_eq!(progress.last_faults.len(), MAX_LAST_FAULTS);
        let line = serde_json::to_value(&progress).unwrap();
        let newest = serde_json::json!({"fault": "pause-payment", "service": "payment",
            "description": "payment paused for 1.2 s"});
        assert_eq!(line["last_faults"][0], newest);
        assert_eq!(line["last_faults"][1]["service"], "database");
        assert_eq!(line["phase"], "starting");
        assert_eq!(line["orders"], serde_json::json!({"done": 0, "total": 20}));
        assert_eq!(line["recovery_paths"]["total"], RecoveryPath::ALL.len());
    }
}
