//! The report of a campaign, as text and as JSON.

mod breaches;
mod flags_to_raise;
mod result;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

pub use result::{CampaignResult, Report, Settling};
pub use verdict::Verdict;
