//! Publishes the progress of a campaign while it runs.

use std::time::Instant;

use tokio::sync::watch;

use super::state::{InjectedFault, Phase, Progress};
use crate::prove::coverage::{Coverage, Goal};
use crate::prove::recovery_path::RecoveryPath;

/// Where a campaign reports its progress. Clones report to the same receivers. A receiver that is
/// slow misses values, and never holds up the campaign.
#[derive(Debug, Clone)]
pub struct ProgressReporter {
    progress: watch::Sender<Progress>,
    started: Instant,
}

impl ProgressReporter {
    /// The channel closes when the last clone of the reporter is dropped.
    #[must_use]
    pub fn channel() -> (Self, watch::Receiver<Progress>) {
        let (progress, receiver) = watch::channel(Progress::new(0, 0));
        let started = Instant::now();
        (Self { progress, started }, receiver)
    }

    /// The orders and faults of the plan.
    pub fn planned(&self, orders: usize, faults: usize) {
        self.change(|progress| *progress = Progress::new(orders, faults));
    }

    pub fn phase(&self, phase: Phase) {
        self.change(|progress| progress.phase = phase);
    }

    /// An order whose customer sends no further request.
    pub fn order_done(&self) {
        self.change(|progress| progress.orders.done += 1);
    }

    /// A directed round with these orders and one fault begins.
    pub fn round(&self, orders: usize) {
        self.change(|progress| {
            progress.phase = Phase::DirectedRounds;
            progress.orders.total += orders;
            progress.faults.total += 1;
        });
    }

    pub fn fault_begins(&self, fault: InjectedFault) {
        self.change(|progress| {
            progress.faults.done += 1;
            progress.push_fault(fault);
        });
    }

    pub fn coverage(&self, coverage: &Coverage) {
        let paths = RecoveryPath::ALL.iter();
        let seen = paths.filter(|path| coverage.reaches(Goal::Path(**path)));
        let seen = seen.map(ToString::to_string).collect();
        self.change(|progress| progress.recovery_paths.seen = seen);
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let seconds = (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        self.progress.send_modify(|progress| {
            change(progress);
            progress.seconds = seconds;
        });
    }
}
