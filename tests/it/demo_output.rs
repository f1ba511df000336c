//! The output of `valerix demo`, and how other commands find the demo.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::demo::{Demo, Directory, ports};
use crate::harness::{PROGRAM, eventually};

/// The files and answers that a page loads when it opens, and again every few seconds.
const PAGE_LOADS: [&str; 7] = [
    "/",
    "/static/app.js",
    "/dashboard.json",
    "/sla",
    "/sla/history",
    "/audit",
    "/services/inventory-service/health",
];

async fn shell(command: &str, directory: &Path) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(directory);
    shell
        .env_remove("DATABASE_URL")
        .env_remove("VALERIX_DATA_DIR");
    shell.output().await.unwrap()
}

/// The log lines of requests.
fn requests(demo: &Demo) -> Vec<String> {
    let lines = demo.lines().into_iter();
    lines.filter(|line| line.contains("route=")).collect()
}

async fn wait_until_logged(demo: &Demo, text: &str) {
    eventually(text, async || {
        let lines = demo.lines();
        lines.iter().any(|line| line.contains(text)).then_some(())
    })
    .await;
}

async fn open_page_and_place_order(demo: &Demo) {
    for path in PAGE_LOADS {
        let response = reqwest::get(format!("{}{path}", demo.url(0))).await;
        assert_eq!(response.unwrap().status(), 200, "{path}");
    }
    assert_eq!(demo.place().await, Some(201));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_logs_orders_and_only_on_request_also_requests() {
    let data = Directory::new("log");
    let demo = Demo::start(&data.0, ports(), &[]);
    demo.wait_until_running().await;
    open_page_and_place_order(&demo).await;
    wait_until_logged(&demo, "order changed").await;
    assert_eq!(requests(&demo), [""; 0]);
    demo.stop().await;

    let demo = Demo::start(&data.0, ports(), &["--verbose"]);
    demo.wait_until_running().await;
    open_page_and_place_order(&demo).await;
    wait_until_logged(&demo, r#"route="/orders""#).await;
    let requests = requests(&demo);
    let is_of_an_order = |line: &String| {
        ["/orders", "/inventory/reserve", "/payments"]
            .iter()
            .any(|route| line.contains(&format!("route=\"{route}\"")))
    };
    assert!(requests.iter().all(is_of_an_order), "{requests:#?}");
    assert!(
        demo.lines().iter().all(|line| !line.contains('\u{1b}')),
        "a pipe gets no colours"
    );
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_work_as_they_are() {
    let directory = Directory::new("it's printed");
    let data = directory.0.join(".valerix");
    let demo = Demo::start(&data, ports(), &[]);
    demo.wait_until_running().await;
    let text = demo.lines().join("\n");
    let commands = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands = commands.filter(|line| {
        ["curl ", "psql "].iter().any(|name| line.starts_with(name)) || line.contains(PROGRAM)
    });
    let commands: Vec<_> = commands.collect();
    assert_eq!(commands.len(), 6, "{text}");
    for command in commands {
        let output = shell(&format!("{command} </dev/null"), &directory.0).await;
        assert!(output.status.success(), "{command}: {output:?}");
    }
    // Without an address the audit reads the database of this directory's demo.
    let audit = shell(&format!("'{PROGRAM}' audit --json"), &directory.0).await;
    let audit: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(audit["clean"], true, "{audit}");
    let orders = &audit["invariants"][0]["checked"];
    assert!(orders.as_u64() > Some(0), "{audit}");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_where_no_demo_runs_says_so_and_creates_nothing() {
    let directory = Directory::new("no-demo");
    std::fs::create_dir_all(&directory.0).unwrap();
    let output = shell(&format!("'{PROGRAM}' audit"), &directory.0).await;
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in ["no demo", ".valerix", "DATABASE_URL", "--database-url"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_demo_names_the_one_that_runs() {
    let (data, other) = (Directory::new("first"), Directory::new("second"));
    let demo = Demo::start(&data.0, ports(), &[]);
    demo.wait_until_running().await;
    let process = demo.child.id().unwrap();
    let running = format!("already running at {}/ (process {process});", demo.url(0));
    for ports in [demo.ports, ports()] {
        let line = Demo::start(&data.0, ports, &[]).failure().await;
        assert!(line.contains(&running), "{line}");
    }
    // Even while the gremlin delays its answers.
    let delay = reqwest::Client::new()
        .post(format!("{}/gremlin/latency", demo.url(0)))
        .body(r#"{"enabled":true,"delay_ms":3000}"#);
    assert_eq!(delay.send().await.unwrap().status(), 200);
    let line = Demo::start(&other.0, demo.ports, &[]).failure().await;
    let running = format!("already running at {}/ (order-service", demo.url(0));
    assert!(line.contains(&running), "{line}");
    let [_, inventory, payment] = ports();
    let [_, taken, _] = demo.ports;
    let line = Demo::start(&other.0, [inventory, taken, payment], &[]);
    let line = line.failure().await;
    let running = format!("already running at {}/ (inventory-service", demo.url(1));
    assert!(line.contains(&running), "{line}");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_another_program_is_reported_as_taken() {
    let data = Directory::new("taken");
    let ports = ports();
    let _listener = std::net::TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
    let line = Demo::start(&data.0, ports, &[]).failure().await;
    let taken = format!("port {} is taken by another program", ports[0]);
    assert!(line.contains(&taken), "{line}");
}
