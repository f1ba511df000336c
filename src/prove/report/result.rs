//! The report of a campaign.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::breaches::breaches;
use super::flags_to_raise::flags_to_raise;
use super::verdict::Verdict;
use crate::audit::Audit;
use crate::prove::check::Findings;
use crate::prove::config::Config;
use crate::prove::coverage::{Coverage, Goal};
use crate::prove::customer::Customer;
use crate::prove::faults::CampaignFaultKind;
use crate::prove::record::CampaignRecord;

/// The result of a campaign.
pub struct CampaignResult {
    pub record: CampaignRecord,
    /// The number of customers of directed rounds.
    pub added_orders: usize,
    /// The number of directed rounds for each goal that needed any.
    pub rounds: BTreeMap<Goal, u32>,
    pub coverage: Coverage,
    pub settling: Settling,
    pub findings: Findings,
    pub audit: Audit,
}

/// How the orders were settled after all faults had ended.
#[derive(Debug, Clone, Copy)]
pub struct Settling {
    /// From the end of the last fault until every order was settled.
    pub duration: Duration,
    /// The number of orders that did not settle in time.
    pub unsettled: i64,
}

impl Settling {
    /// Both together: the longer duration, and what is unsettled at the end.
    #[must_use]
    pub fn followed_by(self, later: Self) -> Self {
        Self {
            duration: self.duration.max(later.duration),
            unsettled: later.unsettled,
        }
    }
}

/// The number of orders that customers placed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OrderCounts {
    pub planned: usize,
    /// In directed rounds.
    pub added: usize,
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the verdict is [`Verdict::Proved`].
    pub proved: bool,
    pub verdict: Verdict,
    pub seed: u64,
    pub orders: OrderCounts,
    /// From the start of the campaign to the end of the check.
    pub seconds: f64,
    /// From the end of the faults until every order was settled. After directed rounds, orders are
    /// settled a second time; then this is the longer of both times.
    pub seconds_to_settle: f64,
    /// The number of customers by their last answer.
    pub answers: BTreeMap<String, usize>,
    /// The number of tries of all customers by their outcome.
    pub tries: BTreeMap<String, usize>,
    /// The number of customers with more than one try.
    pub tried_again: usize,
    /// The number of operators' requests about orders, by action and outcome.
    pub operators: BTreeMap<String, usize>,
    /// The number of requests for deliveries by their outcome.
    pub deliveries: BTreeMap<String, usize>,
    /// How often each kind of fault took effect.
    pub faults: BTreeMap<String, u32>,
    /// The number of directed rounds for each fault kind and recovery path that needed any.
    pub directed_rounds: BTreeMap<String, u32>,
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
            record,
            added_orders,
            rounds,
            coverage,
            settling,
            findings,
            audit,
        } = result;
        let CampaignRecord {
            customers,
            deliveries,
            ..
        } = record;
        let gaps = coverage.gaps();
        let verdict = if !breaches(&findings, &audit, settling.unsettled).is_empty() {
            Verdict::Broken
        } else if !gaps.is_empty() {
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
            orders: OrderCounts {
                planned: customers.len() - added_orders,
                added: added_orders,
            },
            seconds: tenths(duration),
            seconds_to_settle: tenths(settling.duration),
            answers: counts(last_answers.map(|sent| sent.outcome)),
            tries: counts(all_tries.map(|sent| sent.outcome)),
            tried_again: tried_again.count(),
            operators: counts(operator_outcomes(&customers)),
            deliveries: counts(deliveries.iter().flat_map(|d| &d.tries).map(|t| t.outcome)),
            faults: fault_counts
                .map(|kind| (kind.to_string(), coverage.faults.took_effect(kind)))
                .collect(),
            directed_rounds: by_name(rounds),
            failpoints: coverage.faults.observed.failpoints,
            recovery_paths: by_name(coverage.recovery_paths),
            never_ran: gaps.iter().map(ToString::to_string).collect(),
            flags_to_raise: flags_to_raise(&gaps, config),
            unsettled: settling.unsettled,
            findings,
            audit,
        }
    }
}

fn operator_outcomes(customers: &[Customer]) -> impl Iterator<Item = String> {
    let actions = customers.iter().flat_map(|customer| &customer.actions);
    actions.flat_map(|action| {
        let outcomes = action.tries.iter().map(|sent| sent.outcome);
        outcomes.map(|outcome| format!("{} {outcome}", action.action))
    })
}

fn counts(items: impl Iterator<Item = impl fmt::Display>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item.to_string()).or_default() += 1;
    }
    counts
}

fn by_name<K: fmt::Display, V>(counts: BTreeMap<K, V>) -> BTreeMap<String, V> {
    let counts = counts.into_iter();
    counts
        .map(|(key, count)| (key.to_string(), count))
        .collect()
}

/// Seconds, rounded to a tenth.
fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
