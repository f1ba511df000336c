//! The progress of a campaign: `state` is what is known at a moment, `reporter` publishes it while
//! the campaign runs, and `display` shows it on standard error.

mod display;
mod reporter;
mod state;

pub use display::{Display, Format};
pub use reporter::ProgressReporter;
pub use state::{InjectedFault, Phase};
