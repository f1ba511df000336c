//! What a campaign did and found, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::check::{Answer, Findings};
use super::cluster::Struck;
use super::plan::{Fault, Kind};
use super::{Config, QUIET_LIMIT};
use crate::audit::Audit;

/// Which faults ran.
#[derive(Debug, Default)]
pub struct Faults {
    by_kind: BTreeMap<Kind, u32>,
    pub struck: Struck,
}

impl Faults {
    pub fn count(&mut self, fault: &Fault) {
        *self.by_kind.entry(fault.kind()).or_default() += 1;
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub proved: bool,
    pub seed: u64,
    pub seconds: f64,
    pub seconds_to_quiet: f64,
    /// Customers by the last answer they got.
    pub answers: BTreeMap<String, usize>,
    /// Customers who had to ask more than once.
    pub asked_again: usize,
    pub faults: BTreeMap<String, u32>,
    pub crash_points: BTreeMap<String, u32>,
    pub recovery_paths: BTreeMap<String, i64>,
    /// Fault kinds and recovery paths that never ran: what the campaign says nothing about.
    pub never_ran: Vec<String>,
    pub unsettled: i64,
    pub findings: Findings,
    pub audit: Audit,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "the one place where a campaign's parts come together")]
    pub(super) fn new(
        config: &Config,
        took: Duration,
        to_quiet: Duration,
        unsettled: i64,
        answers: &[Answer],
        faults: Faults,
        recovery_paths: BTreeMap<String, i64>,
        findings: Findings,
        audit: Audit,
    ) -> Self {
        let mut by_outcome: BTreeMap<_, usize> = BTreeMap::new();
        for answer in answers {
            *by_outcome.entry(answer.outcome.to_string()).or_default() += 1;
        }
        // An armed point counts when it was really reached, a rule when it fired.
        let ran = |kind: &Kind| match kind {
            Kind::Crash(role) => {
                let of_role =
                    faults.struck.crash_points.iter().filter(|(point, _)| point.starts_with(role.as_str()));
                of_role.map(|(_, count)| *count).sum()
            }
            Kind::Gremlin(kind) => faults.struck.gremlin.get(kind.as_str()).copied().unwrap_or_default(),
            _ => faults.by_kind.get(kind).copied().unwrap_or_default(),
        };
        let faults_by_name: BTreeMap<_, _> =
            Kind::all().iter().map(|kind| (kind.to_string(), ran(kind))).collect();
        let idle_faults =
            faults_by_name.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name.clone());
        let idle_paths =
            recovery_paths.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name.clone());
        let never_ran: Vec<_> = idle_faults.chain(idle_paths).collect();
        let sound = findings.is_clean() && audit.clean && audit.orders.reservations_without_order == 0;
        Self {
            proved: sound && unsettled == 0 && never_ran.is_empty(),
            seed: config.seed,
            seconds: tenths(took),
            seconds_to_quiet: tenths(to_quiet),
            answers: by_outcome,
            asked_again: answers.iter().filter(|answer| answer.tries > 1).count(),
            faults: faults_by_name,
            crash_points: faults.struck.crash_points,
            recovery_paths,
            never_ran,
            unsettled,
            findings,
            audit,
        }
    }
}

fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

fn list<T: fmt::Display>(counts: &BTreeMap<String, T>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Campaign of seed {}, {} s", self.seed, self.seconds)?;
        writeln!(f, "  answers         {}; {} asked again", list(&self.answers), self.asked_again)?;
        writeln!(f, "  faults          {}", list(&self.faults))?;
        writeln!(f, "  crash points    {}", list(&self.crash_points))?;
        writeln!(f, "  recovery paths  {}", list(&self.recovery_paths))?;
        match self.unsettled {
            0 => writeln!(f, "  quiet           {} s after healing", self.seconds_to_quiet)?,
            left => writeln!(
                f,
                "  not quiet       {left} orders unsettled {} s after healing",
                QUIET_LIMIT.as_secs()
            )?,
        }
        let Findings {
            lost,
            contradicted,
            doubled,
            overcharged,
            uncharged,
            oversold,
            unfinished,
            unexpected,
        } = &self.findings;
        for (name, found) in [
            ("lost", lost),
            ("contradicted", contradicted),
            ("doubled", doubled),
            ("overcharged", overcharged),
            ("uncharged", uncharged),
            ("oversold", oversold),
            ("unfinished", unfinished),
            ("unexpected", unexpected),
        ] {
            let examples = found.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
            writeln!(
                f,
                "  {} {name:<13} {} {examples}",
                if found.is_empty() { "✓" } else { "✗" },
                found.len()
            )?;
        }
        writeln!(f, "{}", self.audit)?;
        if !self.never_ran.is_empty() {
            writeln!(f, "Never ran, so nothing is shown about it: {}.", self.never_ran.join(", "))?;
        }
        write!(f, "{}", if self.proved { "Proved." } else { "Not proved." })
    }
}
