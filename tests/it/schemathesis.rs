//! Schemathesis reads the OpenAPI document of each service, and sends valid and invalid requests.
//! Every response must match the document, every error must be a problem document, and no request
//! may cause an internal error. See `tests/schemathesis`.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Service, Stack, TestDatabase, free_port};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis");
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/tools/schemathesis/bin/schemathesis"
);
/// The number of requests for each operation and each way to generate requests.
const MAX_EXAMPLES: &str = "25";
/// A run takes about 20 s.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs Schemathesis on a service: the examples of the document, its limits, random input, and
/// sequences of requests that depend on each other. The requests are the same in each run as long
/// as the responses are the same.
async fn run_schemathesis(service: &Service) {
    assert!(
        Path::new(PROGRAM).exists(),
        "Schemathesis is not installed: run scripts/install-schemathesis"
    );
    let mut command = Command::new(PROGRAM);
    command
        .arg(format!("--config-file={FOLDER}/schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", service.url)])
        .args([
            "--generation-deterministic",
            "--max-examples",
            MAX_EXAMPLES,
            "--continue-on-failure",
        ])
        .args(["--request-timeout", "10", "--warnings", "off", "--no-color"])
        // The event stream never ends, and has tests of its own.
        .args(["--exclude-path", "/orders/stream"])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", FOLDER)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .kill_on_drop(true);
    let output = tokio::time::timeout(RUN_TIMEOUT, command.output())
        .await
        .unwrap()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        service.url
    );
    let internal_error = |line: &String| {
        line.contains("request failed") || line.contains("the service is unavailable")
    };
    assert_eq!(
        service.lines().into_iter().find(internal_error),
        None,
        "Schemathesis did not report a 5xx"
    );
}

/// Starts one service on its own database.
async fn start_service(role: &str) -> Service {
    let database = TestDatabase::create().await;
    let service = Service::start(role, free_port(), &[("DATABASE_URL", database.url())]);
    service.wait_until_ready().await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_service_matches_its_openapi_document() {
    let stack = Stack::with(&[("PAYMENT_SUCCESS_RATE", "0.8")]).await;
    run_schemathesis(&stack.order).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_service_matches_its_openapi_document() {
    run_schemathesis(&start_service("inventory").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payment_service_matches_its_openapi_document() {
    run_schemathesis(&start_service("payment").await).await;
}
