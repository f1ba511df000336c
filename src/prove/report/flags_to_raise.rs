//! Which flags to raise so that the next campaign covers what this one did not.

use std::collections::BTreeMap;

use crate::prove::config::Config;
use crate::prove::coverage::Goal;
use crate::prove::plan::{MIN_DATABASE_RESTARTS, MIN_KILLS};

/// Flags with values that probably close the gaps. If the plan lacks kinds of faults, these are
/// the minimum numbers for a plan with all kinds. If planned faults did not take effect, these are
/// twice as many faults and orders.
pub fn flags_to_raise(gaps: &[Goal], config: &Config) -> BTreeMap<&'static str, u32> {
    let mut flags = BTreeMap::new();
    let (database_restarts, others): (Vec<&Goal>, Vec<&Goal>) =
        gaps.iter().partition(|gap| match gap {
            Goal::Fault(kind) => kind.follows_database_restarts(),
            Goal::Path(_) => false,
        });
    if !database_restarts.is_empty() {
        flags.insert("--database-restarts", MIN_DATABASE_RESTARTS);
    }
    if !others.is_empty() {
        if config.kills < MIN_KILLS {
            flags.insert("--kills", MIN_KILLS);
        } else {
            flags.insert("--kills", config.kills.saturating_mul(2));
            flags.insert("--orders", config.orders.saturating_mul(2));
        }
    }
    flags
}
