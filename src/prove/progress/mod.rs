//! The progress of a campaign: `state` is a snapshot of it, `reporter` publishes it while the
//! campaign runs, and `display` shows it on standard error.

mod display;
mod reporter;
mod state;

pub use display::{Display, Format};
pub use reporter::ProgressReporter;
pub use state::{InjectedFault, Phase};
