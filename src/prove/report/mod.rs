//! The report of a campaign, as text and as JSON.

mod breaches;
mod coverage;
mod injected_faults;
mod result;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod verdict;
mod wrapping;

pub use injected_faults::InjectedFaults;
pub use result::{CampaignResult, Report};
pub use verdict::Verdict;
