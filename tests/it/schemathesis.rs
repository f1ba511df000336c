//! Schemathesis reads what each service says of itself, and sends what follows from it, right and
//! wrong: every answer is as described, every error a problem document, and nothing is the
//! service's own mistake. See `tests/schemathesis`.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Service, Stack, TestDatabase, free_port};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis");
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/tools/schemathesis/bin/schemathesis"
);
/// For each operation and way of making requests up.
const EXAMPLES: &str = "25";
/// It takes some 20 s.
const LONGEST: Duration = Duration::from_secs(300);

/// Examples of the description, each of its limits, random input, and sequences of requests that
/// build upon each other. The same requests in each run, as far as the answers are the same.
async fn examine(service: &Service) {
    assert!(
        Path::new(PROGRAM).exists(),
        "Schemathesis is not there: run scripts/install-schemathesis"
    );
    let mut command = Command::new(PROGRAM);
    command
        .arg(format!("--config-file={FOLDER}/schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", service.url)])
        .args([
            "--generation-deterministic",
            "--max-examples",
            EXAMPLES,
            "--continue-on-failure",
        ])
        .args(["--request-timeout", "10", "--warnings", "off", "--no-color"])
        // It never ends, and has tests of its own.
        .args(["--exclude-path", "/orders/stream"])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", FOLDER)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONGEST, command.output())
        .await
        .unwrap()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{told}\n{complained}",
        service.url
    );
    let mistake =
        |line: &String| line.contains("request failed") || line.contains("cannot serve now");
    assert_eq!(
        service.lines().into_iter().find(mistake),
        None,
        "a 5xx that went unseen"
    );
}

/// A service on a database of its own.
async fn alone(role: &str) -> Service {
    let database = TestDatabase::create().await;
    let service = Service::start(role, free_port(), &[("DATABASE_URL", database.url())]);
    service.wait_until_ready().await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_service_is_as_it_describes_itself() {
    let stack = Stack::with(&[("PAYMENT_SUCCESS_RATE", "0.8")]).await;
    examine(&stack.order).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_service_is_as_it_describes_itself() {
    examine(&alone("inventory").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payment_service_is_as_it_describes_itself() {
    examine(&alone("payment").await).await;
}
