//! What a campaign did and found, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::check::{Customer, Findings};
use super::cluster::Struck;
use super::plan::{Fault, Kind, MIN_DATABASE_RESTARTS, MIN_KILLS};
use super::{Config, QUIET_LIMIT};
use crate::audit::Audit;

/// Columns of the printed report.
const WIDTH: usize = 100;
/// Columns of the titles.
const INDENT: usize = 18;
/// Ids that are printed of each finding; the JSON report has all.
const EXAMPLES: usize = 3;

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

    /// How often a kind really happened: an armed crash point was reached, a rule of the gremlin
    /// fired.
    fn ran(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Crash(role) => {
                let points = self.struck.crash_points.iter();
                points
                    .filter(|(point, _)| point.starts_with(role.as_str()))
                    .map(|(_, count)| *count)
                    .sum()
            }
            Kind::Gremlin(kind) => self
                .struck
                .gremlin
                .get(kind.as_str())
                .copied()
                .unwrap_or_default(),
            _ => self.by_kind.get(&kind).copied().unwrap_or_default(),
        }
    }
}

/// What a campaign shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every kind of fault and every recovery path ran, and nothing broke.
    Proved,
    /// An invariant or a promise broke, or an order stayed unsettled.
    Broken,
    /// Nothing broke, but a kind of fault or a recovery path never ran.
    Incomplete,
}

impl Verdict {
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Proved => 0,
            Self::Broken => 1,
            Self::Incomplete => 2,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the verdict is [`Verdict::Proved`].
    pub proved: bool,
    pub verdict: Verdict,
    pub seed: u64,
    pub seconds: f64,
    pub seconds_to_quiet: f64,
    /// Customers by the last answer they got.
    pub answers: BTreeMap<String, usize>,
    /// All tries of all customers by their outcome.
    pub tries: BTreeMap<String, usize>,
    /// Customers who had to ask more than once.
    pub asked_again: usize,
    pub faults: BTreeMap<String, u32>,
    pub crash_points: BTreeMap<String, u32>,
    pub recovery_paths: BTreeMap<String, i64>,
    /// Fault kinds and recovery paths that never ran: what the campaign says nothing about.
    pub never_ran: Vec<String>,
    /// Flags, and the least values with which what never ran may run.
    pub raise: BTreeMap<&'static str, u32>,
    pub unsettled: i64,
    pub findings: Findings,
    pub audit: Audit,
}

impl Report {
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where a campaign's parts come together"
    )]
    pub(super) fn new(
        config: &Config,
        took: Duration,
        to_quiet: Duration,
        unsettled: i64,
        customers: &[Customer],
        faults: Faults,
        recovery_paths: BTreeMap<String, i64>,
        findings: Findings,
        audit: Audit,
    ) -> Self {
        let idle = Idle::of(&faults, &recovery_paths);
        let never_ran = idle.names();
        let broken = breaches(&findings, &audit, unsettled);
        let verdict = if !broken.is_empty() {
            Verdict::Broken
        } else if !never_ran.is_empty() {
            Verdict::Incomplete
        } else {
            Verdict::Proved
        };
        let last_answers = customers.iter().filter_map(Customer::last_answer);
        let all_tries = customers.iter().flat_map(|customer| &customer.tries);
        Self {
            proved: verdict == Verdict::Proved,
            verdict,
            seed: config.seed,
            seconds: tenths(took),
            seconds_to_quiet: tenths(to_quiet),
            answers: counts(last_answers.map(|attempt| attempt.outcome)),
            tries: counts(all_tries.map(|attempt| attempt.outcome)),
            asked_again: customers
                .iter()
                .filter(|customer| customer.tries.len() > 1)
                .count(),
            faults: Kind::all()
                .into_iter()
                .map(|kind| (kind.to_string(), faults.ran(kind)))
                .collect(),
            crash_points: faults.struck.crash_points,
            recovery_paths,
            never_ran,
            raise: idle.raise(config),
            unsettled,
            findings,
            audit,
        }
    }

    /// The verdict in one line: what broke, or what never ran and what to do about it.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.verdict {
            Verdict::Proved => "Proved.".to_owned(),
            Verdict::Broken => {
                format!(
                    "Broken: {}.",
                    breaches(&self.findings, &self.audit, self.unsettled).join(", ")
                )
            }
            Verdict::Incomplete => {
                let raise: Vec<_> = self
                    .raise
                    .iter()
                    .map(|(flag, least)| format!("{flag} to at least {least}"))
                    .collect();
                let never_ran = self.never_ran.join(", ");
                format!(
                    "Incomplete: nothing broke, but these never ran: {never_ran}. Raise {}.",
                    join_with_and(&raise)
                )
            }
        }
    }
}

/// Everything that broke, in words.
fn breaches(findings: &Findings, audit: &Audit, unsettled: i64) -> Vec<String> {
    let found = findings
        .by_name()
        .into_iter()
        .filter(|(_, found)| !found.is_empty());
    let mut breaches: Vec<_> = found
        .map(|(name, found)| format!("{} {name}", found.len()))
        .collect();
    let violated = audit
        .invariants
        .iter()
        .filter(|invariant| invariant.violations > 0);
    breaches.extend(violated.map(|invariant| format!("invariant {} violated", invariant.name)));
    if audit.orders.reservations_without_order > 0 {
        breaches.push(format!(
            "{} reservations without an order",
            audit.orders.reservations_without_order
        ));
    }
    if unsettled > 0 {
        breaches.push(format!("{unsettled} orders unsettled"));
    }
    if breaches.is_empty() && !audit.clean {
        breaches.push("the audit is not clean".to_owned());
    }
    breaches
}

/// What never ran.
struct Idle {
    kinds: Vec<Kind>,
    paths: Vec<String>,
}

impl Idle {
    fn of(faults: &Faults, recovery_paths: &BTreeMap<String, i64>) -> Self {
        let kinds = Kind::all()
            .into_iter()
            .filter(|kind| faults.ran(*kind) == 0)
            .collect();
        let paths = recovery_paths
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(name, _)| name.clone());
        Self {
            kinds,
            paths: paths.collect(),
        }
    }

    fn names(&self) -> Vec<String> {
        self.kinds
            .iter()
            .map(ToString::to_string)
            .chain(self.paths.iter().cloned())
            .collect()
    }

    /// Where the plan lacked faults, the numbers that plan them all. Where planned faults did not
    /// lead to everything, twice as many of them, and of the orders that meet them.
    fn raise(&self, config: &Config) -> BTreeMap<&'static str, u32> {
        let mut raise = BTreeMap::new();
        if self
            .kinds
            .iter()
            .any(|kind| kind.follows_database_restarts())
        {
            raise.insert("--database-restarts", MIN_DATABASE_RESTARTS);
        }
        let others = self
            .kinds
            .iter()
            .any(|kind| !kind.follows_database_restarts());
        if others || !self.paths.is_empty() {
            if config.kills < MIN_KILLS {
                raise.insert("--kills", MIN_KILLS);
            } else {
                raise.insert("--kills", config.kills.saturating_mul(2));
                raise.insert("--orders", config.orders.saturating_mul(2));
            }
        }
        raise
    }
}

fn counts(items: impl Iterator<Item = impl fmt::Display>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item.to_string()).or_default() += 1;
    }
    counts
}

fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

fn join_with_and(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// Each name with its count, to be written by [`write_wrapped`].
fn list<T: fmt::Display>(counts: &BTreeMap<String, T>) -> Vec<String> {
    if counts.is_empty() {
        return vec!["none".to_owned()];
    }
    let last = counts.len() - 1;
    let comma = |n| if n < last { "," } else { "" };
    counts
        .iter()
        .enumerate()
        .map(|(n, (name, count))| format!("{name} {count}{}", comma(n)))
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Writes pieces of text with spaces between them, in lines of at most [`WIDTH`] columns. No piece
/// is broken. All lines but the first are indented.
fn write_wrapped(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    indent: usize,
    pieces: &[String],
) -> fmt::Result {
    let mut column = title.chars().count();
    write!(f, "{title}")?;
    for (n, piece) in pieces.iter().enumerate() {
        let length = piece.chars().count();
        if n > 0 && column + 1 + length > WIDTH {
            write!(f, "\n{:indent$}{piece}", "")?;
            column = indent + length;
        } else {
            let space = if n > 0 { " " } else { "" };
            write!(f, "{space}{piece}")?;
            column += space.len() + length;
        }
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Campaign of seed {}, {} s", self.seed, self.seconds)?;
        let quiet = match self.unsettled {
            0 => format!("{} s after healing", self.seconds_to_quiet),
            left => format!(
                "not within {} s after healing: {left} orders unsettled",
                QUIET_LIMIT.as_secs()
            ),
        };
        for (title, pieces) in [
            ("answers", list(&self.answers)),
            (
                "asked again",
                words(&format!("{} customers", self.asked_again)),
            ),
            ("all tries", list(&self.tries)),
            ("faults", list(&self.faults)),
            ("crash points", list(&self.crash_points)),
            ("recovery paths", list(&self.recovery_paths)),
            ("quiet", words(&quiet)),
        ] {
            write_wrapped(f, &format!("  {title:<16}"), INDENT, &pieces)?;
            writeln!(f)?;
        }
        for (name, found) in self.findings.by_name() {
            let mark = if found.is_empty() { "✓" } else { "✗" };
            writeln!(f, "  {mark} {name:<18} {}", found.len())?;
            for example in found.iter().take(EXAMPLES) {
                write_wrapped(f, "      ", 6, &words(example))?;
                writeln!(f)?;
            }
        }
        writeln!(f, "{}", self.audit)?;
        if self.verdict == Verdict::Broken && !self.never_ran.is_empty() {
            write_wrapped(
                f,
                "",
                0,
                &words(&format!("Never ran: {}.", self.never_ran.join(", "))),
            )?;
            writeln!(f)?;
        }
        write_wrapped(f, "", 0, &words(&self.summary()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Invariant, Orders};
    use crate::prove::plan::Plan;

    fn config(orders: u32, kills: u32) -> Config {
        Config {
            seed: 1,
            orders,
            kills,
            database_restarts: 2,
            data_dir: None,
            tamper: None,
            progress: false,
        }
    }

    fn audit(violations: i64) -> Audit {
        let (name, meaning) = ("stock-conserved".to_owned(), String::new());
        Audit {
            holds_without_order: Vec::new(),
            at: chrono::DateTime::UNIX_EPOCH,
            clean: violations == 0,
            invariants: vec![Invariant {
                name,
                meaning,
                checked: 8,
                violations,
                examples: Vec::new(),
            }],
            products: Vec::new(),
            orders: Orders {
                total: 0,
                confirmed: 0,
                failed: 0,
                unsettled: 0,
                reservations_without_order: 0,
            },
        }
    }

    /// Every fault of a plan, all of which happened.
    fn all_faults(kills: u32, database_restarts: u32) -> Faults {
        let mut faults = Faults::default();
        for (_, fault) in Plan::new(1, 100, kills, database_restarts).faults {
            faults.count(&fault);
            match &fault {
                Fault::Crash { point, .. } => {
                    faults.struck.crash_points.insert((*point).to_owned(), 1);
                }
                Fault::Gremlin { kind, .. } => {
                    faults.struck.gremlin.insert(kind.to_string(), 1);
                }
                _ => {}
            }
        }
        faults
    }

    fn report(
        config: &Config,
        faults: Faults,
        recovered: i64,
        findings: Findings,
        unsettled: i64,
        audit: Audit,
    ) -> Report {
        let paths = BTreeMap::from([("void-drained".to_owned(), recovered)]);
        let no_time = Duration::ZERO;
        Report::new(
            config,
            no_time,
            no_time,
            unsettled,
            &[],
            faults,
            paths,
            findings,
            audit,
        )
    }

    #[test]
    fn a_campaign_in_which_everything_ran_and_nothing_broke_proves() {
        let whole = report(
            &config(100, 30),
            all_faults(30, 2),
            1,
            Findings::default(),
            0,
            audit(0),
        );
        assert_eq!((whole.verdict, whole.proved), (Verdict::Proved, true));
        assert!(whole.never_ran.is_empty() && whole.raise.is_empty());
        assert_eq!(whole.summary(), "Proved.");
    }

    #[test]
    fn what_broke_outweighs_what_never_ran() {
        let found = Findings {
            unasked: vec!["1".into(), "2".into()],
            ..Findings::default()
        };
        for (findings, unsettled, violations, summary) in [
            (found, 0, 0, "Broken: 2 unasked."),
            (Findings::default(), 3, 0, "Broken: 3 orders unsettled."),
            (
                Findings::default(),
                0,
                1,
                "Broken: invariant stock-conserved violated.",
            ),
        ] {
            let report = report(
                &config(100, 0),
                Faults::default(),
                0,
                findings,
                unsettled,
                audit(violations),
            );
            assert_eq!((report.verdict, report.proved), (Verdict::Broken, false));
            assert_eq!(report.summary(), summary);
            assert!(
                report.to_string().contains("Never ran: kill-order"),
                "{report}"
            );
        }
    }

    #[test]
    fn a_plan_without_faults_is_incomplete_and_says_what_to_raise() {
        let empty = report(
            &config(100, 0),
            Faults::default(),
            0,
            Findings::default(),
            0,
            audit(0),
        );
        assert_eq!((empty.verdict, empty.proved), (Verdict::Incomplete, false));
        let least = [
            ("--database-restarts", MIN_DATABASE_RESTARTS),
            ("--kills", MIN_KILLS),
        ];
        assert_eq!(empty.raise, BTreeMap::from(least));
        let summary = empty.summary();
        assert!(
            summary.starts_with("Incomplete: nothing broke, but these never ran: kill-order, ")
        );
        assert!(
            summary.ends_with("Raise --database-restarts to at least 2 and --kills to at least 6."),
            "{summary}"
        );
    }

    #[test]
    fn a_recovery_path_or_a_planned_fault_that_never_ran_asks_for_more_of_everything() {
        let no_path = report(
            &config(100, 30),
            all_faults(30, 2),
            0,
            Findings::default(),
            0,
            audit(0),
        );
        assert_eq!(no_path.never_ran, ["void-drained"]);
        assert_eq!(
            no_path.raise,
            BTreeMap::from([("--kills", 60), ("--orders", 200)])
        );
        let mut faults = all_faults(30, 2);
        faults.struck.gremlin.remove("vanish");
        let no_rule = report(
            &config(100, 30),
            faults,
            1,
            Findings::default(),
            0,
            audit(0),
        );
        assert_eq!(
            (no_rule.verdict, no_rule.never_ran),
            (Verdict::Incomplete, vec!["gremlin-vanish".into()])
        );
        assert_eq!(
            no_rule.raise,
            BTreeMap::from([("--kills", 60), ("--orders", 200)])
        );
    }

    #[test]
    fn the_printed_lists_fit_into_the_width() {
        let report = report(
            &config(100, 30),
            all_faults(30, 2),
            1,
            Findings::default(),
            0,
            audit(0),
        );
        let text = report.to_string();
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(text.ends_with("Proved."));
    }
}
