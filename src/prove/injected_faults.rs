//! How often each kind of fault took effect.

use std::collections::BTreeMap;

use super::faults::{CampaignFaultKind, ObservedFaults};

/// The faults that were injected, and those that the services' logs show.
#[derive(Debug, Default)]
pub struct InjectedFaults {
    by_kind: BTreeMap<CampaignFaultKind, u32>,
    pub observed: ObservedFaults,
}

impl InjectedFaults {
    /// Counts a fault that was injected.
    pub fn count(&mut self, kind: CampaignFaultKind) {
        *self.by_kind.entry(kind).or_default() += 1;
    }

    /// How often faults of the kind took effect. A failpoint takes effect when it is reached, and a
    /// gremlin rule when it fires.
    pub fn took_effect(&self, kind: CampaignFaultKind) -> u32 {
        match kind {
            CampaignFaultKind::Failpoint(service) => {
                let failpoints = self.observed.failpoints.iter();
                failpoints
                    .filter(|(point, _)| point.starts_with(service.as_str()))
                    .map(|(_, count)| *count)
                    .sum()
            }
            CampaignFaultKind::GremlinRule(kind) => {
                let count = self.observed.gremlin_rules.get(kind.as_str());
                count.copied().unwrap_or_default()
            }
            _ => self.by_kind.get(&kind).copied().unwrap_or_default(),
        }
    }
}
