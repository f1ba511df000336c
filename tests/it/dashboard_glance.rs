//! What the dashboard says at a glance, in a real browser: the answer time, the orders that are not
//! finished, and whether the books balance.

use serde_json::json;

use crate::dashboard::open;
use crate::harness::Stack;
use crate::harness::browser::Browser;

async fn shows_text(browser: &Browser, css: &str, text: &str) {
    let expression = format!("document.querySelector({css:?})?.innerText.includes({text:?})");
    browser
        .until(&format!("{css} to show {text}"), &expression)
        .await;
}

/// The text of an element on one line.
async fn line(browser: &Browser, css: &str) -> String {
    let text = browser.text(css).await;
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_orders_are_counted_beside_the_light_also_when_they_fill_several_pages() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    browser.shows("#sla[data-status=idle]").await;
    assert_eq!(browser.text("#sla-status").await, "no orders");
    assert_eq!(
        browser.text("#sla-title").await,
        "Answer time, average of 30 s"
    );
    browser.shows("#unfinished[data-state=none]").await;
    assert_eq!(line(&browser, ".tile-text").await, "none unfinished");

    // A confirmed order is answered and finished: the light is green, and nothing is left.
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    browser.shows("#sla[data-status=green]").await;
    browser.shows("#unfinished[data-state=none]").await;

    // Without inventory the answers are fast, and the orders are unfinished all the same.
    stack.inventory.process.kill().await.unwrap();
    assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    shows_text(&browser, "#unfinished", "1").await;
    browser.shows("#unfinished[data-state=waiting]").await;
    let text = line(&browser, ".tile-text").await;
    assert!(
        text.starts_with("1 order unfinished, the oldest ") && text.ends_with(" s"),
        "{text}"
    );
    for _ in 0..104 {
        assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    }
    browser
        .until(
            "all orders to be counted",
            "document.querySelector('#unfinished-count').textContent === '105'",
        )
        .await;
    shows_text(&browser, "#unfinished-detail", "orders unfinished, the oldest ").await;
    assert_eq!(browser.text("#sla-status").await, "green");
    stack.restart_inventory(&[]).await;
    browser.shows("#unfinished[data-state=none]").await;

    // Neither is known when the service cannot be asked.
    stack.order.process.kill().await.unwrap();
    browser.shows("#sla[data-status=unknown]").await;
    browser.shows("#unfinished[data-state=unknown]").await;
    assert_eq!(browser.text("#sla-status").await, "unknown");
    assert_eq!(line(&browser, ".tile-text").await, "unknown");
    browser.was_clean().await;
}
