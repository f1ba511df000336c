//! The report of a campaign.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::breaches::breaches;
use super::coverage::Gaps;
use super::injected_faults::InjectedFaults;
use super::verdict::Verdict;
use crate::audit::Audit;
use crate::prove::check::Findings;
use crate::prove::config::Config;
use crate::prove::customer::Customer;
use crate::prove::faults::CampaignFaultKind;

/// The result of a campaign.
pub struct CampaignResult {
    pub customers: Vec<Customer>,
    pub faults: InjectedFaults,
    /// The number of events that end each recovery path.
    pub recovery_paths: BTreeMap<String, i64>,
    /// From the end of the last fault until every order was settled.
    pub time_to_settle: Duration,
    /// The number of orders that did not settle in time.
    pub unsettled: i64,
    pub findings: Findings,
    pub audit: Audit,
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the verdict is [`Verdict::Proved`].
    pub proved: bool,
    pub verdict: Verdict,
    pub seed: u64,
    /// From the start of the campaign to the end of the check.
    pub seconds: f64,
    pub seconds_to_settle: f64,
    /// The number of customers by their last answer.
    pub answers: BTreeMap<String, usize>,
    /// The number of tries of all customers by their outcome.
    pub tries: BTreeMap<String, usize>,
    /// The number of customers with more than one try.
    pub tried_again: usize,
    /// How often each kind of fault took effect.
    pub faults: BTreeMap<String, u32>,
    /// How often each failpoint was reached.
    pub failpoints: BTreeMap<String, u32>,
    /// The number of events that end each recovery path.
    pub recovery_paths: BTreeMap<String, i64>,
    /// Fault kinds that never took effect, and recovery paths that were never taken. The
    /// campaign shows nothing about them.
    pub never_ran: Vec<String>,
    /// Flags to raise, with the values to raise them to, so that everything may run.
    #[serde(rename = "raise")]
    pub flags_to_raise: BTreeMap<&'static str, u32>,
    pub unsettled: i64,
    pub findings: Findings,
    pub audit: Audit,
}

impl Report {
    pub fn new(config: &Config, duration: Duration, result: CampaignResult) -> Self {
        let CampaignResult {
            customers,
            faults,
            recovery_paths,
            time_to_settle,
            unsettled,
            findings,
            audit,
        } = result;
        let gaps = Gaps::of(&faults, &recovery_paths);
        let never_ran = gaps.names();
        let verdict = if !breaches(&findings, &audit, unsettled).is_empty() {
            Verdict::Broken
        } else if !never_ran.is_empty() {
            Verdict::Incomplete
        } else {
            Verdict::Proved
        };
        let last_answers = customers.iter().filter_map(Customer::last_answer);
        let all_tries = customers.iter().flat_map(|customer| &customer.tries);
        let tried_again = customers.iter().filter(|customer| customer.tries.len() > 1);
        let fault_counts = CampaignFaultKind::all().into_iter();
        Self {
            proved: verdict == Verdict::Proved,
            verdict,
            seed: config.seed,
            seconds: tenths(duration),
            seconds_to_settle: tenths(time_to_settle),
            answers: counts(last_answers.map(|sent| sent.outcome)),
            tries: counts(all_tries.map(|sent| sent.outcome)),
            tried_again: tried_again.count(),
            faults: fault_counts
                .map(|kind| (kind.to_string(), faults.took_effect(kind)))
                .collect(),
            failpoints: faults.observed.failpoints,
            recovery_paths,
            never_ran,
            flags_to_raise: gaps.flags_to_raise(config),
            unsettled,
            findings,
            audit,
        }
    }
}

fn counts(items: impl Iterator<Item = impl fmt::Display>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item.to_string()).or_default() += 1;
    }
    counts
}

/// Seconds, rounded to a tenth.
fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
