//! What a campaign did not cover, and which flags to raise so that the next one does.

use std::collections::BTreeMap;

use super::injected_faults::InjectedFaults;
use crate::prove::config::Config;
use crate::prove::faults::CampaignFaultKind;
use crate::prove::plan::{MIN_DATABASE_RESTARTS, MIN_KILLS};

/// The fault kinds that never took effect, and the recovery paths that were never taken.
pub struct Gaps {
    kinds: Vec<CampaignFaultKind>,
    recovery_paths: Vec<String>,
}

impl Gaps {
    pub fn of(faults: &InjectedFaults, recovery_paths: &BTreeMap<String, i64>) -> Self {
        let kinds = CampaignFaultKind::all()
            .into_iter()
            .filter(|kind| faults.took_effect(*kind) == 0);
        let recovery_paths = recovery_paths
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(name, _)| name.clone());
        Self {
            kinds: kinds.collect(),
            recovery_paths: recovery_paths.collect(),
        }
    }

    pub fn names(&self) -> Vec<String> {
        let kinds = self.kinds.iter().map(ToString::to_string);
        kinds.chain(self.recovery_paths.iter().cloned()).collect()
    }

    /// Flags with values that probably close the gaps. If the plan lacks kinds of faults, these are
    /// the minimum numbers for a plan with all kinds. If planned faults did not take effect, these
    /// are twice as many faults and orders.
    pub fn flags_to_raise(&self, config: &Config) -> BTreeMap<&'static str, u32> {
        let mut flags = BTreeMap::new();
        let (database_restarts, others): (Vec<CampaignFaultKind>, Vec<CampaignFaultKind>) = self
            .kinds
            .iter()
            .partition(|kind| kind.follows_database_restarts());
        if !database_restarts.is_empty() {
            flags.insert("--database-restarts", MIN_DATABASE_RESTARTS);
        }
        if !others.is_empty() || !self.recovery_paths.is_empty() {
            if config.kills < MIN_KILLS {
                flags.insert("--kills", MIN_KILLS);
            } else {
                flags.insert("--kills", config.kills.saturating_mul(2));
                flags.insert("--orders", config.orders.saturating_mul(2));
            }
        }
        flags
    }
}
