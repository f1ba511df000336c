//! `valerix prove`: a short campaign that must prove, and the same check on books that were tampered with.

use serde_json::Value;
use tokio::process::Command;

use crate::harness::PROGRAM;

async fn prove(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(PROGRAM).args(["prove", "--json"]).args(arguments).output().await.unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_campaign_proves() {
    // The order service of this seed's campaign dies right after it stored an order, which leads to the rarest path of recovery.
    let (code, report) =
        prove(&["--seed", "3", "--orders", "500", "--kills", "18", "--database-restarts", "2"]).await;
    assert_eq!((code, &report["proved"]), (Some(0), &Value::Bool(true)), "{report:#}");
    let answered: u64 =
        report["answers"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(answered, 500);
    assert!(
        report["faults"].as_object().unwrap().values().all(|count| count.as_u64() > Some(0)),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_were_tampered_with_are_found_out() {
    const CONFIRMED: &str = "(SELECT id FROM orders WHERE status = 'CONFIRMED' LIMIT 1)";
    for (tamper, finding) in [
        (format!("DELETE FROM orders WHERE id = {CONFIRMED}"), "lost"),
        (format!("UPDATE payments SET status = 'REFUNDED' WHERE order_id = {CONFIRMED}"), "uncharged"),
        (format!("UPDATE reservations SET state = 'RELEASED' WHERE order_id = {CONFIRMED}"), "oversold"),
    ] {
        let calm = ["--seed", "1", "--orders", "20", "--kills", "0", "--database-restarts", "0"];
        let (code, report) = prove(&[&calm[..], &["--tamper", &tamper]].concat()).await;
        assert_eq!(code, Some(1));
        let found = report["findings"][finding].as_array().unwrap();
        assert_eq!(found.len(), 1, "{tamper}: {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_without_faults_proves_nothing_and_says_so() {
    let (code, report) =
        prove(&["--seed", "1", "--orders", "20", "--kills", "0", "--database-restarts", "0"]).await;
    assert_eq!(code, Some(1));
    let never_ran: Vec<_> =
        report["never_ran"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(never_ran.contains(&"database-kill") && never_ran.contains(&"gremlin-vanish"), "{never_ran:?}");
    assert_eq!(report["audit"]["clean"], true);
}
