//! `valerix load`: each order that it sends is counted, and a stall shows in the latencies.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{PROGRAM, Service, Stack, eventually};

const RATE: u64 = 20;
const SECONDS: u64 = 5;

/// Runs `valerix load` on a service, and returns its JSON report.
async fn load(service: &Service, extra: &[&str]) -> Value {
    let mut command = Command::new(PROGRAM);
    command
        .args(["load", "--json", "--url", &service.url])
        .args(extra)
        .env_clear();
    let output = command.output().await.unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sum(responses: &Value) -> u64 {
    responses
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_that_was_sent_is_counted_with_its_status() {
    let stack = Stack::start().await;
    let extra = [
        "--rate",
        "10,30",
        "--seconds",
        "1",
        "--keys",
        "--product-id",
        "PROD-001,PROD-002,NO-SUCH",
    ];
    let report = load(&stack.order, &extra).await;
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(
        steps
            .iter()
            .map(|step| step["rate"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [10, 30]
    );
    for step in steps {
        assert_eq!(step["sent"], step["rate"], "the step takes 1 s");
        assert_eq!(
            sum(&step["answers"]),
            step["sent"].as_u64().unwrap(),
            "{step}"
        );
        let expected = ["201", "202", "409", "422"];
        assert!(
            step["answers"]
                .as_object()
                .unwrap()
                .keys()
                .all(|status| expected.contains(&&**status)),
            "{step}"
        );
        let latency = ["p50_ms", "p90_ms", "p99_ms", "max_ms"]
            .map(|name| step["latency"][name].as_f64().unwrap());
        assert!(latency[0] > 0.0 && latency.is_sorted(), "{step}");
        assert_eq!(
            step["refused"]["max_ms"], 0.0,
            "no order was rejected: {step}"
        );
        assert!(
            step["goodput"].as_f64().unwrap() > 0.0 && step["seconds"].as_f64().unwrap() >= 0.9,
            "{step}"
        );
    }
    assert_eq!(
        stack.database.count("SELECT count(*) FROM orders").await,
        40
    );
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_part_of_the_latency_of_every_order_that_was_due_during_it() {
    let stack = Stack::start().await;
    let order = &stack.order;
    let (rate, seconds) = (RATE.to_string(), SECONDS.to_string());
    let flags = ["--rate", &rate, "--seconds", &seconds];
    // The latency switch delays each request that arrives while it is on.
    let stall = async {
        eventually("the load to begin", async || {
            (stack.database.count("SELECT count(*) FROM orders").await > 0).then_some(())
        })
        .await;
        let began = Instant::now();
        order.set_latency(true, 1500).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        order.set_latency(false, 0).await;
        began.elapsed()
    };
    let (report, stalled) = tokio::join!(load(order, &flags), stall);
    let step = &report["steps"][0];
    assert_eq!(
        sum(&step["answers"]),
        RATE * SECONDS,
        "all orders were sent at their times: {step}"
    );
    // 40 % of the orders are due in these 2 s of 5. A closed loop would have sent a few orders
    // then, and would have reported a low 90th percentile.
    assert!(
        step["latency"]["p90_ms"].as_f64().unwrap() >= 1500.0,
        "{step}, stalled for {stalled:?}"
    );
    assert!(
        step["latency"]["p50_ms"].as_f64().unwrap() < 1500.0,
        "{step}, stalled for {stalled:?}"
    );
    assert!(
        step["seconds"].as_f64().unwrap() < 8.0,
        "the stall does not delay the schedule: {step}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_service_delays_every_order_that_is_due() {
    let stack = Stack::start().await;
    let suspend = async {
        eventually("the load to begin", async || {
            (stack.database.count("SELECT count(*) FROM orders").await > 0).then_some(())
        })
        .await;
        stack
            .order
            .process
            .signal(nix::sys::signal::Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_secs(2)).await;
        stack
            .order
            .process
            .signal(nix::sys::signal::Signal::SIGCONT);
    };
    let (report, ()) = tokio::join!(
        load(&stack.order, &["--rate", "20", "--seconds", "4"]),
        suspend
    );
    let step = &report["steps"][0];
    assert_eq!(sum(&step["answers"]), 80, "{step}");
    let max = step["latency"]["max_ms"].as_f64().unwrap();
    assert!(
        max >= 1900.0,
        "the first order that was due waited for the end of the stall: {step}"
    );
    // Half of the orders were due during the stall, and waited for 1 s on average.
    assert!(
        step["latency"]["p90_ms"].as_f64().unwrap() >= 1200.0,
        "{step}"
    );
}

/// Runs a short `valerix load` with thresholds. Returns its exit code, the report, and standard
/// error.
async fn load_with_thresholds(service: &Service) -> (Option<i32>, Value, String) {
    let mut command = Command::new(PROGRAM);
    command
        .args(["load", "--json", "--url", &service.url])
        .args(["--rate", "20", "--seconds", "1"])
        .args(["--max-p99-ms", "4900", "--max-errors", "10%"])
        .env_clear();
    let output = command.output().await.unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), report, stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exceeded_threshold_is_exit_code_1_and_says_by_how_much() {
    let stack = Stack::start().await;
    let (code, report, stderr) = load_with_thresholds(&stack.order).await;
    assert_eq!((code, &*stderr), (Some(0), ""), "{report}");
    let thresholds = report["thresholds"].as_array().unwrap();
    assert_eq!(thresholds.len(), 2, "{report}");
    assert!(thresholds.iter().all(|judgement| judgement["kept"] == true));

    stack.order.set_latency(true, 5000).await;
    let (code, _, stderr) = load_with_thresholds(&stack.order).await;
    stack.order.set_latency(false, 0).await;
    let is_p99 = stderr.starts_with("valerix: load: at 20/s: p99 ");
    assert!(
        code == Some(1) && is_p99 && stderr.ends_with(" ms above --max-p99-ms 4900\n"),
        "{code:?}: {stderr}"
    );

    let every_second = json!({"kind": "error", "status": 500, "route": "/orders", "every": 2});
    let added = stack.order.post("/gremlin/rules", &every_second).await;
    assert_eq!(added.status, 201, "{added:?}");
    let (code, _, stderr) = load_with_thresholds(&stack.order).await;
    let wanted = "valerix: load: at 20/s: 10 errors in 20 orders (50.00%), 40.00 points above \
                  --max-errors 10%\n";
    assert_eq!((code, &*stderr), (Some(1), wanted));
}

#[tokio::test]
async fn wrong_flags_are_reported_in_one_line_with_exit_code_2() {
    for (flags, wanted) in [
        (&["--rate", "0"][..], "--rate"),
        (&["--rate", "10,x"], "--rate"),
        (&["--seconds", "0"], "--seconds"),
        (&["--quantity", "1001"], "--quantity"),
        (&["--timeout-ms", "0"], "--timeout-ms"),
        (&["--max-p99-ms", "0"], "--max-p99-ms"),
        (&["--max-errors", "101%"], "--max-errors"),
        (&["--url", "ftp://x"], "--url"),
    ] {
        let output = Command::new(PROGRAM)
            .arg("load")
            .args(flags)
            .env_clear()
            .output()
            .await
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), stderr.lines().count()),
            (Some(2), 1),
            "{flags:?}: {stderr}"
        );
        assert!(
            stderr.starts_with("valerix: ") && stderr.contains(wanted),
            "{flags:?}: {stderr}"
        );
    }
}
