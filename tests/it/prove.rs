//! `valerix prove`: a short campaign that must be proved, and campaigns whose database was tampered
//! with.

use serde_json::Value;
use tokio::process::Command;

use crate::harness::PROGRAM;

const WITHOUT_FAULTS: [&str; 8] = [
    "--seed",
    "1",
    "--orders",
    "20",
    "--kills",
    "0",
    "--database-restarts",
    "0",
];

async fn prove(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(PROGRAM)
        .args(["prove", "--json"])
        .args(arguments)
        .output()
        .await
        .unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), report)
}

/// Runs a campaign, and returns what it wrote to standard output and to standard error.
async fn streams(arguments: &[&str]) -> (String, String) {
    let output = Command::new(PROGRAM)
        .arg("prove")
        .args(arguments)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_the_json_progress_is_the_state_of_the_campaign() {
    let arguments = [
        "--seed",
        "1",
        "--orders",
        "20",
        "--kills",
        "1",
        "--database-restarts",
        "0",
        "--progress",
        "json",
        "--json",
    ];
    let (report, progress) = streams(&arguments).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    let lines: Vec<Value> = progress
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let mut phases: Vec<_> = lines
        .iter()
        .map(|line| line["phase"].as_str().unwrap())
        .collect();
    phases.dedup();
    assert_eq!(
        phases[..3],
        ["starting", "placing-orders", "settling"],
        "{progress}"
    );
    assert_eq!(phases.last(), Some(&"checking"), "{progress}");

    let last = lines.last().unwrap();
    let orders = &report["orders"];
    let placed = orders["planned"].as_u64().unwrap() + orders["added"].as_u64().unwrap();
    assert_eq!(last["orders"]["total"], placed, "{progress}");
    assert_eq!(last["orders"]["done"], placed, "{progress}");
    assert_eq!(
        last["faults"]["done"], last["faults"]["total"],
        "{progress}"
    );
    let paths = report["recovery_paths"].as_object().unwrap();
    let seen = paths
        .values()
        .filter(|count| count.as_u64() > Some(0))
        .count();
    assert_eq!(
        last["recovery_paths"]["seen"].as_array().unwrap().len(),
        seen
    );
    assert_eq!(last["recovery_paths"]["total"], paths.len());

    // Each fault is in a line when it begins, although a line can follow several changes.
    let mut faults = std::collections::BTreeSet::new();
    for line in &lines {
        for fault in line["last_faults"].as_array().unwrap() {
            faults.insert(fault["fault"].as_str().unwrap().to_owned());
            assert!(
                ["order", "inventory", "payment", "database"]
                    .contains(&fault["service"].as_str().unwrap()),
                "{fault}"
            );
        }
    }
    assert!(faults.contains("gremlin-crash"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_each_phase_is_a_line_and_the_report_fits_80_columns() {
    let (report, progress) = streams(&WITHOUT_FAULTS).await;
    let is_wide = |line: &&str| line.chars().count() > 80;
    let lines = report.lines().chain(progress.lines());
    assert_eq!(lines.filter(is_wide).collect::<Vec<_>>(), [""; 0]);
    let phases: Vec<_> = progress
        .lines()
        .map(|line| line.split("  ").last().unwrap())
        .collect();
    let expected = [
        "starting a database and services: 0/20 orders, 0/0 faults",
        "placing orders and injecting faults: 0/20 orders, 0/0 faults",
        "waiting until orders are settled: 20/20 orders, 0/0 faults",
        "comparing answers and database: 20/20 orders, 0/0 faults",
    ];
    assert_eq!(phases, expected);
    assert!(report.contains("Incomplete: nothing broke"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_campaign_is_proved_and_injects_every_kind_of_fault() {
    let (code, report) = prove(&["--seed", "3", "--orders", "100", "--kills", "6"]).await;
    assert_eq!(
        (code, report["verdict"].as_str()),
        (Some(0), Some("proved")),
        "{report:#}"
    );
    assert_eq!(report["proved"], true);
    let orders = &report["orders"];
    assert_eq!(orders["planned"], 100);
    assert_eq!(
        sum(&report["answers"]),
        100 + orders["added"].as_u64().unwrap(),
        "{report:#}"
    );
    assert!(sum(&report["operators"]) > 0, "{report:#}");
    assert!(sum(&report["deliveries"]) > 0, "{report:#}");
    let faults = report["faults"].as_object().unwrap();
    assert!(
        faults.values().all(|count| count.as_u64() > Some(0)),
        "{report:#}"
    );
    for kind in [
        "lock-product",
        "lock-orders",
        "standby-wait",
        "end-sessions-order",
    ] {
        assert!(faults.contains_key(kind), "{faults:?}");
    }
}

/// With `--discount`, only the rounds of a goal count for it, and not the planned faults or other
/// rounds.
#[tokio::test(flavor = "multi_thread")]
async fn directed_rounds_reach_every_recovery_path_and_faults_that_wait_for_requests() {
    const GOALS: [&str; 11] = [
        "failpoint-inventory",
        "gremlin-vanish",
        "pending-confirmed",
        "pending-inventory-confirmed",
        "pending-payment-confirmed",
        "declined-late",
        "out-of-stock-late",
        "released-by-recovery",
        "refunded-by-recovery",
        "cancelled-settled-by-recovery",
        "shipped-by-recovery",
    ];
    let discount = GOALS.join(",");
    let arguments = [
        "--seed",
        "5",
        "--orders",
        "20",
        "--kills",
        "6",
        "--discount",
    ];
    let (code, report) = prove(&[&arguments[..], &[&discount]].concat()).await;
    assert_eq!(
        (code, report["verdict"].as_str()),
        (Some(0), Some("proved")),
        "{report:#}"
    );
    let rounds = report["directed_rounds"].as_object().unwrap();
    for goal in GOALS {
        assert!(rounds.contains_key(goal), "{goal}: {report:#}");
    }
    assert_eq!(report["orders"]["planned"], 20);
    assert!(report["orders"]["added"].as_u64() > Some(0), "{report:#}");
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().unwrap().values();
    counts.map(|count| count.as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_whose_database_was_tampered_with_is_broken() {
    const CONFIRMED: &str = "(SELECT id FROM orders WHERE status = 'CONFIRMED' LIMIT 1)";
    const HELD: &str = "(SELECT id FROM orders WHERE status = 'CONFIRMED' AND fulfilled_at IS NULL \
        AND idempotency_key IS NULL LIMIT 1)";
    let unasked = format!(
        "INSERT INTO orders (product_id, quantity) VALUES ('P-0', 1);
         INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
             VALUES ('P-0', 1, 1, 1, 1);
         UPDATE orders SET status = 'FAILED', failure_reason = 'cancelled' WHERE id = {HELD}"
    );
    for (tamper, findings) in [
        (
            format!("DELETE FROM orders WHERE id = {CONFIRMED}"),
            &["lost"][..],
        ),
        (
            format!("UPDATE payments SET status = 'REFUNDED' WHERE order_id = {CONFIRMED}"),
            &["uncharged"],
        ),
        (
            format!("UPDATE reservations SET state = 'RELEASED' WHERE order_id = {CONFIRMED}"),
            &["unreserved"],
        ),
        (
            unasked,
            &[
                "unexplained",
                "misdelivered",
                "unrequested",
                "cancelled_but_kept",
            ],
        ),
    ] {
        let (code, report) = prove(&[&WITHOUT_FAULTS[..], &["--tamper", &tamper]].concat()).await;
        assert_eq!(
            (code, report["verdict"].as_str()),
            (Some(1), Some("broken")),
            "{tamper}: {report:#}"
        );
        for finding in findings {
            let found = report["findings"][finding].as_array().unwrap();
            assert_eq!(found.len(), 1, "{finding}: {tamper}: {report:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_without_faults_is_incomplete_and_names_the_numbers_to_raise() {
    let (code, report) = prove(&WITHOUT_FAULTS).await;
    assert_eq!(
        (code, report["verdict"].as_str()),
        (Some(2), Some("incomplete")),
        "{report:#}"
    );
    assert_eq!(report["proved"], false);
    let never_ran: Vec<_> = report["never_ran"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for kind in ["database-kill", "gremlin-vanish", "standby-wait"] {
        assert!(never_ran.contains(&kind), "{never_ran:?}");
    }
    assert_eq!(report["raise"]["--kills"], 6);
    assert_eq!(report["raise"]["--database-restarts"], 2);
    assert_eq!(report["audit"]["clean"], true);
}
