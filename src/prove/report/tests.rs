use std::collections::BTreeMap;
use std::time::Duration;

use super::{CampaignResult, Report, Settling, Verdict};
use crate::audit::{Audit, Invariant, Orders};
use crate::prove::check::Findings;
use crate::prove::config::Config;
use crate::prove::coverage::{Coverage, Goal};
use crate::prove::customer::Customer;
use crate::prove::faults::CampaignFault;
use crate::prove::injected_faults::InjectedFaults;
use crate::prove::plan::{MIN_DATABASE_RESTARTS, MIN_KILLS, Plan, PlannedOrder};
use crate::prove::record::CampaignRecord;
use crate::prove::recovery_path::RecoveryPath;

const ORDERS: u32 = 100;
const KILLS: u32 = 30;

fn config(kills: u32) -> Config {
    Config {
        seed: 1,
        orders: ORDERS,
        kills,
        database_restarts: MIN_DATABASE_RESTARTS,
        data_dir: None,
        tamper: None,
        discounted: Vec::new(),
    }
}

fn audit(violations: i64) -> Audit {
    let invariant = Invariant {
        name: "stock-conserved".to_owned(),
        meaning: String::new(),
        checked: 8,
        violations,
        examples: Vec::new(),
    };
    Audit {
        holds_without_order: Vec::new(),
        at: chrono::DateTime::UNIX_EPOCH,
        clean: violations == 0,
        invariants: vec![invariant],
        products: Vec::new(),
        orders: Orders {
            total: 0,
            confirmed: 0,
            failed: 0,
            unsettled: 0,
            leaving: 0,
            reservations_without_order: 0,
        },
    }
}

/// Every fault of a plan, all of which took effect.
fn all_faults() -> InjectedFaults {
    let mut faults = InjectedFaults::default();
    for (_, fault) in Plan::new(1, ORDERS, KILLS, MIN_DATABASE_RESTARTS).faults {
        faults.count(fault.kind());
        match &fault {
            CampaignFault::Failpoint { point, .. } => {
                faults.observed.failpoints.insert((*point).to_owned(), 1);
            }
            CampaignFault::GremlinRule { kind, .. } => {
                faults.observed.gremlin_rules.insert(kind.to_string(), 1);
            }
            _ => {}
        }
    }
    faults
}

fn customer() -> Customer {
    let order = PlannedOrder {
        product_id: "P-0".to_owned(),
        quantity: 1,
        key: None,
        replays: false,
        operators: None,
    };
    Customer {
        order,
        tries: Vec::new(),
        actions: Vec::new(),
    }
}

fn settling(unsettled: i64) -> Settling {
    Settling {
        duration: Duration::ZERO,
        unsettled,
    }
}

/// A campaign in which everything ran and nothing broke.
fn complete_result() -> CampaignResult {
    let mut coverage = Coverage::of(all_faults());
    coverage.recovery_paths = RecoveryPath::ALL.iter().map(|path| (*path, 1)).collect();
    CampaignResult {
        record: CampaignRecord::default(),
        added_orders: 0,
        rounds: BTreeMap::new(),
        coverage,
        settling: settling(0),
        findings: Findings::default(),
        audit: audit(0),
    }
}

/// A campaign in which nothing ran and nothing broke.
fn empty_result() -> CampaignResult {
    CampaignResult {
        coverage: Coverage::default(),
        ..complete_result()
    }
}

fn report(kills: u32, result: CampaignResult) -> Report {
    Report::new(&config(kills), Duration::ZERO, result)
}

#[test]
fn a_campaign_in_which_everything_ran_and_nothing_broke_is_proved() {
    let report = report(KILLS, complete_result());
    assert_eq!((report.verdict, report.proved), (Verdict::Proved, true));
    assert!(report.never_ran.is_empty() && report.flags_to_raise.is_empty());
    assert_eq!(report.summary(), "Proved.");
}

#[test]
fn a_campaign_that_broke_something_is_broken_even_if_something_never_ran() {
    let two_unexplained = Findings {
        unexplained: vec!["1".into(), "2".into()],
        ..Findings::default()
    };
    for (findings, unsettled, violations, summary) in [
        (two_unexplained, 0, 0, "Broken: 2 unexplained."),
        (Findings::default(), 3, 0, "Broken: 3 orders unsettled."),
        (
            Findings::default(),
            0,
            1,
            "Broken: invariant stock-conserved violated.",
        ),
    ] {
        let result = CampaignResult {
            findings,
            settling: settling(unsettled),
            audit: audit(violations),
            ..empty_result()
        };
        let report = report(0, result);
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
    let report = report(0, empty_result());
    assert_eq!(
        (report.verdict, report.proved),
        (Verdict::Incomplete, false)
    );
    let minimum = [
        ("--database-restarts", MIN_DATABASE_RESTARTS),
        ("--kills", MIN_KILLS),
    ];
    assert_eq!(report.flags_to_raise, BTreeMap::from(minimum));
    let summary = report.summary();
    let start = "Incomplete: nothing broke, but these never ran: kill-order, ";
    assert!(summary.starts_with(start), "{summary}");
    let end = "Raise --database-restarts to at least 2 and --kills to at least 6.";
    assert!(summary.ends_with(end), "{summary}");
}

#[test]
fn a_planned_fault_or_a_recovery_path_that_never_ran_asks_for_twice_as_much() {
    let twice = BTreeMap::from([("--kills", 2 * KILLS), ("--orders", 2 * ORDERS)]);

    let mut without_path = complete_result();
    without_path
        .coverage
        .recovery_paths
        .insert(RecoveryPath::RefundedByRecovery, 0);
    let without_path = report(KILLS, without_path);
    assert_eq!(without_path.verdict, Verdict::Incomplete);
    assert_eq!(without_path.never_ran, ["refunded-by-recovery"]);
    assert_eq!(without_path.flags_to_raise, twice);

    let mut without_rule = complete_result();
    without_rule
        .coverage
        .faults
        .observed
        .gremlin_rules
        .remove("vanish");
    let without_rule = report(KILLS, without_rule);
    assert_eq!(without_rule.verdict, Verdict::Incomplete);
    assert_eq!(without_rule.never_ran, ["gremlin-vanish"]);
    assert_eq!(without_rule.flags_to_raise, twice);
}

#[test]
fn the_orders_and_rounds_that_closed_gaps_are_in_the_report() {
    let goal = Goal::Path(RecoveryPath::DeclinedLate);
    let result = CampaignResult {
        record: CampaignRecord {
            customers: vec![customer(), customer(), customer()],
            ..CampaignRecord::default()
        },
        added_orders: 2,
        rounds: BTreeMap::from([(goal, 1)]),
        ..complete_result()
    };
    let report = report(KILLS, result);
    assert_eq!((report.orders.planned, report.orders.added), (1, 2));
    let expected = BTreeMap::from([("declined-late".to_owned(), 1)]);
    assert_eq!(report.directed_rounds, expected);
    let text = report.to_string();
    assert!(
        text.contains("1 planned, 2 added in directed rounds"),
        "{text}"
    );
    assert!(text.contains("directed rounds declined-late 1"), "{text}");
}

/// Each list has names of every kind, with long counts.
fn widest_report(result: CampaignResult) -> String {
    let outcomes = [
        "201 confirmed",
        "402 payment declined",
        "409 out of stock",
        "503 outcome unknown",
        "fulfil 409 already fulfilled",
    ];
    let counts: BTreeMap<_, _> = outcomes.map(|name| (name.to_owned(), 1_000_000)).into();
    let mut report = report(KILLS, result);
    report.answers.clone_from(&counts);
    report.tries.clone_from(&counts);
    report.operators = counts;
    report.failpoints = report.faults.clone();
    report.directed_rounds = report.faults.clone();
    report.to_string()
}

#[test]
fn no_line_of_the_report_is_wider_than_80_columns() {
    let long = "key 7f3e1c52-9d0b-4c5e-8a11-0f6f4f2f9d3e: answered 201 confirmed, then 402 payment \
        declined";
    let broken = CampaignResult {
        findings: Findings {
            inconsistent: vec![long.to_owned(); 4],
            ..Findings::default()
        },
        settling: settling(1_000_000),
        audit: audit(3),
        ..empty_result()
    };
    for (result, end) in [
        (complete_result(), "Proved."),
        (broken, "unsettled."),
        (empty_result(), "at least 200."),
    ] {
        let text = widest_report(result);
        let is_wide = |line: &&str| line.chars().count() > 80;
        let wide: Vec<_> = text.lines().filter(is_wide).collect();
        assert!(wide.is_empty(), "{wide:#?}");
        assert!(text.ends_with(end), "{text}");
        assert!(text.contains("402 payment declined 1000000"), "{text}");
    }
}
