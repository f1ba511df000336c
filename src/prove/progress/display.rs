//! Shows the progress of a campaign on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::state::{Phase, Progress};
use crate::platform::output;

/// Pause between two lines of JSON. No fault is missed, because a line has the last ones.
const JSON_INTERVAL: Duration = Duration::from_millis(100);
/// Limits the time that the last line may take after the campaign.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How the progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line that changes, for a terminal.
    Bar,
    /// A line at the start of each phase.
    Text,
    /// A line of JSON for each change.
    Json,
    Hidden,
}

/// The progress on standard error. It ends when the campaign drops its reporter.
pub struct Display(oneshot::Receiver<()>);

impl Display {
    /// Starts to show the progress. Needs a runtime.
    ///
    /// A thread of its own writes, because a write blocks while the reader of standard error does
    /// not read. Neither the campaign nor its end may wait for that.
    #[must_use]
    pub fn start(progress: watch::Receiver<Progress>, format: Format) -> Self {
        let (shown, receiver) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::spawn(move || {
            runtime.block_on(show(progress, format));
            // Fails if nothing waits for the end.
            let _ = shown.send(());
        });
        Self(receiver)
    }

    /// Waits until the last progress was written, for at most a second.
    pub async fn end(self) {
        let _ = tokio::time::timeout(END_TIMEOUT, self.0).await;
    }
}

async fn show(progress: watch::Receiver<Progress>, format: Format) {
    match format {
        Format::Bar => show_bar(progress).await,
        Format::Text => show_phases(progress).await,
        Format::Json => show_json(progress).await,
        Format::Hidden => {}
    }
}

async fn show_bar(mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} orders, {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    while progress.changed().await.is_ok() {
        let progress = progress.borrow_and_update().clone();
        bar.set_length(progress.orders.total as u64);
        bar.set_position(progress.orders.done as u64);
        bar.set_message(message(&progress));
    }
    bar.finish_and_clear();
}

/// The faults, and what happens now.
fn message(progress: &Progress) -> String {
    let Progress { phase, faults, .. } = progress;
    let last_fault = progress.last_faults.front();
    let event = match phase {
        Phase::PlacingOrders | Phase::DirectedRounds => {
            last_fault.map_or_else(|| phase.to_string(), |fault| fault.description.clone())
        }
        _ => phase.to_string(),
    };
    format!("{}/{} faults: {event}", faults.done, faults.total)
}

async fn show_phases(mut progress: watch::Receiver<Progress>) {
    let mut shown = None;
    while progress.changed().await.is_ok() {
        let progress = progress.borrow_and_update().clone();
        if shown == Some(progress.phase) {
            continue;
        }
        shown = Some(progress.phase);
        output::print_progress(phase_line(&progress));
    }
}

fn phase_line(progress: &Progress) -> String {
    let Progress {
        phase,
        seconds,
        orders,
        faults,
        ..
    } = progress;
    let done = format!(
        "{}/{} orders, {}/{} faults",
        orders.done, orders.total, faults.done, faults.total
    );
    format!("{seconds:>6.1} s  {phase}: {done}")
}

async fn show_json(mut progress: watch::Receiver<Progress>) {
    while progress.changed().await.is_ok() {
        let line = serde_json::to_string(&*progress.borrow_and_update());
        // A progress has only strings and numbers, so it can always be written as JSON.
        output::print_progress(line.unwrap_or_default());
        tokio::time::sleep(JSON_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::faults::CampaignFault;

    #[test]
    fn a_phase_is_one_line_of_at_most_80_columns() {
        let mut progress = Progress::new(1_000_000, 100_000);
        for phase in [
            Phase::Starting,
            Phase::PlacingOrders,
            Phase::Settling,
            Phase::DirectedRounds,
            Phase::Checking,
        ] {
            progress.phase = phase;
            progress.seconds = 1234.5;
            let line = phase_line(&progress);
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn the_bar_shows_the_last_fault_while_faults_are_injected() {
        let mut progress = Progress::new(20, 40);
        assert_eq!(
            message(&progress),
            "0/40 faults: starting a database and services"
        );
        progress.phase = Phase::PlacingOrders;
        progress.faults.done = 1;
        progress.push_fault((&CampaignFault::DatabaseKill).into());
        assert_eq!(message(&progress), "1/40 faults: database killed");
        progress.phase = Phase::Settling;
        assert_eq!(
            message(&progress),
            "1/40 faults: waiting until orders are settled"
        );
    }
}
