//! Campaigns that a demo runs on request: over its API, and on its page.

use std::path::Path;

use fantoccini::key::Key;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::demo::{Demo, Directory, ports};
use crate::harness::browser::Browser;
use crate::harness::{TestDatabase, eventually};

/// The fewest orders that a campaign can have.
const SMALL: &str = r#"{"seed":4,"orders":20}"#;
const CURRENT: &str = "/demo/campaigns/current";

async fn call(demo: &Demo, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Client::new().request(method, format!("{}{path}", demo.url(0)));
    let response = request.body(body.to_owned()).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn start(demo: &Demo, body: &str) -> (StatusCode, Value) {
    call(demo, Method::POST, "/demo/campaigns", body).await
}

async fn current(demo: &Demo) -> Value {
    call(demo, Method::GET, CURRENT, "").await.1
}

async fn wait_for_fault(demo: &Demo) {
    eventually("a fault of the campaign", async || {
        let now = current(demo).await;
        now["progress"]["last_faults"][0].is_object().then_some(())
    })
    .await;
}

/// Waits until the campaign has no process. Only a campaign without progress takes too long.
async fn ended(demo: &Demo) -> Value {
    let mut last = Value::Null;
    loop {
        let now = eventually("the campaign to go on", async || {
            let now = current(demo).await;
            (now != last).then_some(now)
        })
        .await;
        if !["running", "stopping"].contains(&now["state"].as_str().unwrap()) {
            return now;
        }
        last = now;
    }
}

/// The directories of campaigns that are left.
fn campaign_directories(temporary: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(temporary).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("prove")).collect()
}

/// A directory for temporary files that the database server's user can enter.
fn temporary(name: &str) -> Directory {
    let directory = Directory::new(name);
    std::fs::create_dir_all(&directory.0).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(&directory.0, permissions).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_runs_one_campaign_at_a_time_until_it_is_stopped() {
    let data = Directory::new("campaign");
    let demo = Demo::start(&data.0, ports(), &[]);
    demo.wait_until_running().await;
    assert_eq!(current(&demo).await["state"], "none");
    let none = call(&demo, Method::DELETE, CURRENT, "").await;
    assert_eq!(
        (none.0, &none.1["detail"]),
        (StatusCode::NOT_FOUND, &json!("No campaign runs."))
    );

    let (status, problem) = start(&demo, r#"{"orders":5,"seed":-1}"#).await;
    assert_eq!(status, 400);
    let errors = json!([
        {"field": "seed", "detail": "must be a whole number from 0 to 9007199254740991"},
        {"field": "orders", "detail": "must be a whole number from 20 to 1000"},
    ]);
    assert_eq!(problem["errors"], errors);
    assert_eq!(current(&demo).await["state"], "none");

    let (status, started) = start(&demo, SMALL).await;
    assert_eq!(status, 202);
    let command = "valerix prove --seed 4 --orders 20 --kills 6";
    assert_eq!(started["command"], command);
    let (status, problem) = start(&demo, SMALL).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("campaign-running"))
    );
    wait_for_fault(&demo).await;
    assert_eq!(call(&demo, Method::DELETE, CURRENT, "").await.0, 202);
    let stopped = ended(&demo).await;
    assert_eq!(
        (&stopped["state"], &stopped["report"]),
        (&json!("stopped"), &Value::Null),
        "{stopped:#}"
    );
    let orders = call(&demo, Method::GET, "/orders", "").await.1;
    assert_eq!(orders["orders"], json!([]), "the demo has no order of it");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_ends_and_cleans_up_with_its_demo_however_the_demo_ends() {
    let (data, temporary) = (Directory::new("campaign-end"), temporary("campaign-tmp"));
    let env = [("TMPDIR", temporary.0.to_str().unwrap())];
    let demo = Demo::start_with(&data.0, ports(), &[], &env);
    demo.wait_until_running().await;
    assert_eq!(start(&demo, SMALL).await.0, 202);
    wait_for_fault(&demo).await;
    assert_eq!(campaign_directories(&temporary.0).len(), 1);
    let Demo {
        mut child, ports, ..
    } = demo;
    let pid = child.id().unwrap().try_into().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    child.wait().await.unwrap();
    eventually("the campaign to clean up", async || {
        campaign_directories(&temporary.0).is_empty().then_some(())
    })
    .await;

    let again = Demo::start_with(&data.0, ports, &[], &env);
    again.wait_until_running().await;
    assert_eq!(start(&again, SMALL).await.0, 202);
    eventually("the campaign to begin", async || {
        (!campaign_directories(&temporary.0).is_empty()).then_some(())
    })
    .await;
    again.stop().await;
    assert_eq!(campaign_directories(&temporary.0), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_without_the_programs_of_postgresql_fails_and_says_so() {
    let (data, database) = (Directory::new("no-programs"), TestDatabase::create().await);
    let url = database.url();
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("POSTGRES_BIN_DIR", "/nowhere"),
    ];
    let demo = Demo::start_with(&data.0, ports(), &[], &env);
    demo.wait_until_running().await;
    assert_eq!(start(&demo, SMALL).await.0, 202);
    let failed = ended(&demo).await;
    assert_eq!(failed["state"], "failed", "{failed:#}");
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.starts_with("POSTGRES_BIN_DIR is '/nowhere'"),
        "{error}"
    );
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_started_by_its_button_survives_a_reload_and_ends_with_a_verdict() {
    let data = Directory::new("campaign-page");
    let demo = Demo::start(&data.0, ports(), &[]);
    demo.wait_until_running().await;
    let browser = Browser::open(&demo.url(0)).await;
    browser.shows("#campaign:not([hidden])").await;
    browser
        .until(
            "the limits",
            "campaign.querySelector('[name=orders]').value === '100'",
        )
        .await;
    browser.fill("#campaign-form [name=orders]", "20").await;
    browser.fill("#campaign-form [name=seed]", "4").await;
    browser.press(Key::Tab).await;
    assert!(browser.is_focused("#campaign-start").await);
    browser.press(Key::Enter).await;
    browser.shows("#campaign-stop:not([hidden])").await;
    assert!(browser.is_focused("#campaign-stop").await);

    browser.shows("#campaign-last-faults li").await;
    browser.goto(&format!("{}/", demo.url(0))).await;
    browser.shows("#campaign-last-faults li").await;
    assert_eq!(browser.text("#campaign-state").await, "seed 4");

    let verdict = ended(&demo).await["report"]["verdict"].clone();
    let verdict = verdict.as_str().unwrap();
    assert!(["proved", "incomplete"].contains(&verdict), "{verdict}");
    browser
        .shows(&format!("#campaign-report[data-verdict={verdict}]"))
        .await;
    let counters = browser.text("#campaign-counters").await;
    assert_eq!(
        counters.split_whitespace().collect::<Vec<_>>().join(" "),
        "lost 0 charged twice 0 overcharged 0 oversold 0 unfinished 0"
    );
    assert!(browser.is_focused("body").await, "nothing took the focus");
    browser.click("#campaign-details summary").await;
    let details = browser.text("#campaign-details").await;
    for text in [
        "20 orders",
        "kill-payment",
        "pending-confirmed",
        "one payment per order",
    ] {
        assert!(details.contains(text), "{text}: {details}");
    }
    browser.was_clean().await;
    demo.stop().await;
}
