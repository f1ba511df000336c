//! The page shows that a process has died and was started again, and kills the services of a demo.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::dashboard::{open, shows_text, stop_refreshing};
use crate::demo::{Demo, Directory, ports};
use crate::harness::Stack;
use crate::harness::browser::Browser;

/// Long enough, on a slow machine, to see a dead service and to place orders meanwhile.
const PAUSE: [&str; 2] = ["--restart-pause-ms", "10000"];

async fn open_demo(demo: &Demo) -> Browser {
    demo.wait_until_running().await;
    let browser = Browser::open(&demo.url(0)).await;
    browser.shows("#stream-status[data-state=live]").await;
    browser.shows(&row("inventory", "running")).await;
    browser
}

fn row(service: &str, state: &str) -> String {
    format!("#processes:not([hidden]) [data-process={service}][data-state={state}]")
}

fn health(service: &str) -> String {
    format!("#health li[data-service={service}-service]")
}

/// Waits until the health, the flow diagram and the list of processes show a dead service.
async fn shows_dead(browser: &Browser, service: &str) {
    let dead = format!("{}[data-process=ended][data-state=down]", health(service));
    browser.shows(&dead).await;
    browser.shows(&row(service, "ended")).await;
    let node = format!("[data-node={service}][data-state=down]");
    shows_text_of_svg(browser, &format!("{node} .flow-value"), "dead").await;
    let label = format!("{node} .process-label[data-state=ended]");
    shows_text_of_svg(browser, &label, "starts again").await;
}

async fn shows_restarted(browser: &Browser, service: &str, pid: i32) {
    browser.shows(&row(service, "restarted")).await;
    let note = format!("process {pid}");
    shows_text(browser, &health(service), "restarted").await;
    shows_text(browser, &health(service), &note).await;
    let label = format!("[data-node={service}] .process-label[data-state=restarted]");
    shows_text_of_svg(browser, &label, &note).await;
}

/// An SVG element has no `innerText`.
async fn shows_text_of_svg(browser: &Browser, css: &str, text: &str) {
    let expression = format!("document.querySelector({css:?})?.textContent.includes({text:?})");
    let what = format!("{css} to show {text}");
    browser.until(&what, &expression).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_by_its_button_is_seen_dead_and_no_order_is_lost() {
    let data = Directory::new("kill-button");
    let demo = Demo::start(&data.0, ports(), &PAUSE);
    let browser = open_demo(&demo).await;
    shows_text(&browser, "#guarantees", "0 lost, 0 charged twice").await;

    browser.click("[data-process=inventory] button").await;
    shows_dead(&browser, "inventory").await;
    shows_text(&browser, "#process-message", "inventory was killed").await;
    // A second press explains itself.
    browser.click("[data-process=inventory] button").await;
    shows_text(&browser, "#process-message", "does not run").await;
    browser.click("#order-form button[value='10']").await;
    let waiting = "#orders tr[data-status=PENDING_INVENTORY]";
    browser.shows(waiting).await;

    shows_restarted(&browser, "inventory", demo.restarted("inventory", 1).await).await;
    let confirmed = "document.querySelectorAll('#orders tr[data-status=CONFIRMED]').length === 10";
    browser.until("the orders to be confirmed", confirmed).await;
    let good = "#guarantees[data-tone=good]";
    shows_text(&browser, good, "0 lost, 0 charged twice").await;
    shows_text(&browser, good, "of 10 orders").await;
    browser.was_clean().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_from_outside_is_seen_dead_and_a_dead_order_service_does_not_answer() {
    let data = Directory::new("kill-outside");
    let demo = Demo::start(&data.0, ports(), &PAUSE);
    let browser = open_demo(&demo).await;
    let pid = *demo.pids("payment").last().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    shows_dead(&browser, "payment").await;
    shows_restarted(&browser, "payment", demo.restarted("payment", 1).await).await;

    browser.click("[data-process=order] button").await;
    shows_text(&browser, &row("order", "ended"), "does not answer").await;
    browser.shows(&row("inventory", "unknown")).await;
    shows_text(&browser, "#guarantees", "unknown").await;
    shows_restarted(&browser, "order", demo.restarted("order", 1).await).await;
    shows_text(&browser, "#guarantees", "0 lost, 0 charged twice").await;
    browser.was_clean().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_demo_a_restart_is_seen_in_the_metrics_and_nothing_can_be_killed() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    let scraped = "performance.getEntriesByType('resource')
        .some(({ name }) => name.endsWith('/services/inventory-service/metrics'))";
    browser.until("the metrics", scraped).await;
    stack.restart_inventory(&[]).await;
    shows_text(&browser, &health("inventory"), "restarted").await;
    browser.shows("#processes[hidden]").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_asked_as_soon_as_an_order_begins_to_wait() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    stop_refreshing(&browser).await;
    stack.inventory.process.kill().await.unwrap();
    let order = json!({"product_id": "PROD-001", "quantity": 1});
    assert_eq!(stack.order.post("/orders", &order).await.status, 202);
    browser
        .shows(&format!("{}[data-state=down]", health("inventory")))
        .await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_presets_of_the_gremlin_are_shown_below_the_processes_of_a_demo() {
    let data = Directory::new("presets");
    let demo = Demo::start(&data.0, ports(), &[]);
    let browser = open_demo(&demo).await;
    browser.emulate_screen(1920, 1080, "light").await;
    browser.shows("#presets .preset:nth-child(5)").await;
    let hidden = "(() => {
        const area = document.querySelector('.controls-column').getBoundingClientRect();
        return [...document.querySelectorAll('.preset, #stop-all-faults')]
            .filter((node) => node.getBoundingClientRect().bottom > area.bottom)
            .map((node) => node.textContent);
    })()";
    let shown = format!("innerWidth === 1920 && {hidden}.length === 0");
    browser.until("all presets to be shown", &shown).await;
    browser.was_clean().await;
}
