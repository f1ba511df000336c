//! The coverage of a campaign: the goals that it must reach, and the gaps that are left.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::error::ProveError;
use super::faults::{CampaignFaultKind, ChaosCluster, Session};
use super::injected_faults::InjectedFaults;
use super::recovery_path::{self, RecoveryPath};

/// Something that must occur in a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// A fault of the kind takes effect.
    Fault(CampaignFaultKind),
    /// Recovery takes the path.
    Path(RecoveryPath),
}

impl Goal {
    /// All goals. A campaign is proved only if each is reached.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let kinds = CampaignFaultKind::all().into_iter().map(Self::Fault);
        let paths = RecoveryPath::ALL.iter().copied().map(Self::Path);
        kinds.chain(paths).collect()
    }
}

/// The name in the report.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(kind) => kind.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let goal = Self::all()
            .into_iter()
            .find(|goal| goal.to_string() == name);
        goal.ok_or_else(|| "takes names of fault kinds and recovery paths in the report".to_owned())
    }
}

/// How often each fault kind took effect, and each recovery path was taken.
#[derive(Debug, Default)]
pub struct Coverage {
    pub faults: InjectedFaults,
    /// The number of events that end each recovery path.
    pub recovery_paths: BTreeMap<RecoveryPath, i64>,
    /// A goal is reached when it has occurred more often than this; more than 0 times if absent.
    discounted: BTreeMap<Goal, i64>,
}

impl Coverage {
    /// The coverage of faults that were injected. [`Coverage::update`] must follow.
    #[must_use]
    pub fn of(faults: InjectedFaults) -> Self {
        Self {
            faults,
            ..Self::default()
        }
    }

    /// Makes the goal a gap even if it is reached: only later occurrences count.
    pub fn discount(&mut self, goal: Goal) {
        self.discounted.insert(goal, self.count(goal));
    }

    /// Reads the logs and the events so far.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn update(
        &mut self,
        chaos_cluster: &ChaosCluster,
        session: &mut Session,
    ) -> Result<(), ProveError> {
        self.faults.observed = chaos_cluster.observed_faults();
        self.recovery_paths = session.ask(recovery_path::count_all).await?;
        Ok(())
    }

    #[must_use]
    pub fn reaches(&self, goal: Goal) -> bool {
        self.count(goal) > self.discounted.get(&goal).copied().unwrap_or_default()
    }

    fn count(&self, goal: Goal) -> i64 {
        match goal {
            Goal::Fault(kind) => i64::from(self.faults.took_effect(kind)),
            Goal::Path(path) => self.recovery_paths.get(&path).copied().unwrap_or_default(),
        }
    }

    /// The goals that are not reached.
    #[must_use]
    pub fn gaps(&self) -> Vec<Goal> {
        let goals = Goal::all().into_iter();
        goals.filter(|goal| !self.reaches(*goal)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_report_is_parsed_as_its_goal() {
        for goal in Goal::all() {
            assert_eq!(goal.to_string().parse(), Ok(goal));
        }
        assert!("declined".parse::<Goal>().is_err());
    }

    #[test]
    fn a_discounted_goal_is_a_gap_until_it_occurs_again() {
        let path = RecoveryPath::DeclinedLate;
        let goal = Goal::Path(path);
        let mut coverage = Coverage::default();
        coverage.recovery_paths.insert(path, 2);
        assert!(coverage.reaches(goal));
        coverage.discount(goal);
        assert!(coverage.gaps().contains(&goal));
        coverage.recovery_paths.insert(path, 3);
        assert!(!coverage.gaps().contains(&goal));
    }
}
