//! The timeline of an order in a real browser: its address, its calls on a time axis, and the link
//! to its trace.

use fantoccini::key::Key;
use serde_json::json;

use crate::dashboard::{open, row};
use crate::harness::Stack;
use crate::harness::browser::Browser;

const OPEN: &str = "dialog#timeline[open] #events li";

/// Waits until the fragment of the page's address is this.
async fn has_address(browser: &Browser, hash: &str) {
    let expression = format!("location.hash === {hash:?}");
    browser
        .until(&format!("the address {hash:?}"), &expression)
        .await;
}

/// Places an order and returns its id.
async fn place(stack: &Stack) -> String {
    stack.place("PROD-001", 1).await.order_id()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_has_an_address_and_the_back_button_closes_it() {
    let stack = Stack::start().await;
    let (id, other) = (place(&stack).await, place(&stack).await);
    let browser = open(&stack).await;
    browser.click(&format!("{} .open-order", row(&id))).await;
    browser.shows(OPEN).await;
    has_address(&browser, &format!("#order={id}")).await;
    browser.run("history.back()").await;
    browser.shows_no("dialog[open]").await;
    has_address(&browser, "").await;
    browser.run("history.forward()").await;
    browser.shows(OPEN).await;
    has_address(&browser, &format!("#order={id}")).await;

    // Closed by keyboard, it leaves the address, and the next order takes its place.
    browser.press(Key::Escape).await;
    browser.shows_no("dialog[open]").await;
    has_address(&browser, "").await;
    let length = browser.run("return history.length").await;
    browser.click(&format!("{} .open-order", row(&other))).await;
    browser.shows(OPEN).await;
    assert_eq!(browser.run("return history.length").await, length);
    browser.run("history.back()").await;
    browser.shows_no("dialog[open]").await;

    // The address can be given to somebody else.
    browser.goto(&format!("{}/livez", stack.order.url)).await;
    browser
        .goto(&format!("{}/#order={other}", stack.order.url))
        .await;
    browser.shows(OPEN).await;
    let shown = browser.text("#order-facts").await;
    assert!(shown.contains(&other), "{shown}");
    browser.press(Key::Escape).await;
    browser.shows_no("dialog[open]").await;
    has_address(&browser, "").await;
    // An address that names no order shows an error, and its text is not read as HTML.
    let hostile = "location.hash = 'order=' + encodeURIComponent('<img src=x onerror=alert(1)>')";
    browser.run(hostile).await;
    browser.shows("dialog[open] #timeline-body .bad").await;
    browser.shows_no("[onerror], [src=x]").await;
    browser.run("location.hash = 'order=%E0'").await;
    browser.shows_no("dialog[open]").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_waits_of_an_order_are_drawn_on_one_time_axis() {
    let mut stack = Stack::start().await;
    stack.inventory.process.kill().await.unwrap();
    let id = place(&stack).await;
    let browser = open_without_inventory(&stack).await;
    browser.click(&format!("{} .open-order", row(&id))).await;
    browser
        .shows("#waterfall li[data-attempt=\"1\"][data-step=reserve][data-outcome=refused]")
        .await;
    stack.restart_inventory(&[]).await;
    browser
        .shows("#waterfall li[data-step=charge][data-outcome=ok]")
        .await;
    browser.shows("#waterfall li[data-kind=wait]").await;
    let last: Vec<_> = browser
        .attributes("#waterfall li[data-kind=call]", "data-step")
        .await;
    assert_eq!(last[last.len() - 2..], ["reserve", "charge"], "{last:?}");
    let text = browser.text("#waterfall li[data-step=charge]").await;
    assert!(
        text.contains("payment") && text.contains("ok, "),
        "the text says who answered what: {text}"
    );
    // Each bar begins where the one before it ends, or later, and all fit on the axis.
    let bars = "return [...document.querySelectorAll('#waterfall .waterfall-bar')].map((bar) =>
        [bar.style.left, bar.style.width].map(parseFloat))";
    let bars: Vec<(f64, f64)> = serde_json::from_value(browser.run(bars).await).unwrap();
    assert!(bars.len() >= 4, "{bars:?}");
    for pair in bars.windows(2) {
        assert!(pair[0].0 <= pair[1].0, "{bars:?}");
    }
    for (left, width) in &bars {
        assert!(
            *left >= 0.0 && *width > 0.0 && left + width <= 100.01,
            "{bars:?}"
        );
    }
    let wait = "#waterfall li[data-kind=wait]";
    let text = browser.text(wait).await;
    assert!(text.contains("wait for attempt "), "{text}");
    browser.emulate(390, "dark").await;
    let too_wide = "return [...document.querySelectorAll('#timeline, #timeline *')]
        .filter((node) => node.getBoundingClientRect().right > 391).map((node) => node.outerHTML)";
    assert_eq!(browser.run(too_wide).await, json!([]));
    // Without a tracing backend there is no link to a trace.
    browser.shows_no("#timeline a").await;
    browser.was_clean().await;
}

/// Opens the page while inventory is away.
async fn open_without_inventory(stack: &Stack) -> Browser {
    let browser = Browser::open(&stack.order.url).await;
    browser.shows("#stream-status[data-state=live]").await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_links_to_its_trace_where_a_tracing_backend_is_configured() {
    let stack = Stack::with(&[("TRACE_URL", "http://127.0.0.1:9/trace/{trace_id}")]).await;
    let id = place(&stack).await;
    let trace = stack.order.get(&format!("/orders/{id}")).await.json()["trace_id"].clone();
    let browser = open(&stack).await;
    browser.click(&format!("{} .open-order", row(&id))).await;
    browser.shows(OPEN).await;
    let links = browser.attributes("#order-facts a", "href").await;
    let wanted = format!("http://127.0.0.1:9/trace/{}", trace.as_str().unwrap());
    assert_eq!(links, [wanted]);
    browser.was_clean().await;
}
