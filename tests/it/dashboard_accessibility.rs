//! The dashboard passes axe-core, the checker of the web content accessibility guidelines.

use serde_json::{Value, json};

use crate::dashboard::open;
use crate::harness::Stack;
use crate::harness::browser::Browser;

const AXE: &str = "target/tools/axe/node_modules/axe-core/axe.min.js";

/// Runs axe in the page. The page's policy allows no other scripts, so the driver runs it.
async fn violations(browser: &Browser) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE);
    let axe = std::fs::read_to_string(path).expect("axe-core, which scripts/install-axe installs");
    browser.run(&format!("{axe}; window.axe = axe")).await;
    // Text is not judged while it fades in.
    let finish = "document.getAnimations()
        .filter(({ effect }) => effect.getComputedTiming().endTime < Infinity)
        .forEach((animation) => animation.finish())";
    browser.run(finish).await;
    browser
        .run(
            "return axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
                violations.map(({ id, nodes }) =>
                    [id, ...nodes.map(({ html, failureSummary }) => [html, failureSummary])]))",
        )
        .await
}

/// Expects no violations on screens of these sizes, in both themes.
async fn passes(browser: &Browser, state: &str, screens: &[(u32, u32)]) {
    for (width, height) in screens {
        for scheme in ["light", "dark"] {
            browser.emulate_screen(*width, *height, scheme).await;
            let found = violations(browser).await;
            assert_eq!(found, json!([]), "{state}, {width}, {scheme}: {found:#}");
        }
    }
}

const DESKTOP_AND_PHONE: [(u32, u32); 2] = [(1280, 800), (390, 844)];

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_violations_in_any_state_of_the_page() {
    let mut stack = Stack::start().await;
    for product in ["PROD-001", "PROD-002", "PROD-404"] {
        stack.place(product, 1).await;
    }
    let browser = open(&stack).await;
    browser.shows("#orders tr").await;
    passes(&browser, "calm", &DESKTOP_AND_PHONE).await;
    passes(&browser, "fixed areas", &[(1920, 1080)]).await;

    browser.click("#product-toggle").await;
    browser.shows("#product-list:not([hidden]) li").await;
    passes(&browser, "product list", &[(1280, 800)]).await;

    // A fault, a dead service, orders that wait, and a burst on the board.
    browser.click("[data-preset=hanging-payments]").await;
    browser.shows("#rules li[data-active=true]").await;
    stack.inventory.process.kill().await.unwrap();
    browser.click("#order-form button[value=\"10\"]").await;
    browser.shows(".burst[data-placed=true]").await;
    browser
        .shows("#health li[data-service=inventory-service][data-state=down]")
        .await;
    browser.shows("#unsettled-orders li").await;
    passes(&browser, "fault", &DESKTOP_AND_PHONE).await;
    browser.click("#orders tr:first-child .open-order").await;
    browser.shows("dialog#timeline[open] .events li").await;
    passes(&browser, "timeline", &DESKTOP_AND_PHONE).await;

    browser.goto(&format!("{}/?present", stack.order.url)).await;
    browser.shows("#stream-status[data-state=live]").await;
    browser.shows("#gremlin[data-state=active]").await;
    browser.shows("#orders tr").await;
    passes(&browser, "projector", &[(1920, 1080), (1280, 720)]).await;
    stack.restart_inventory(&[]).await;

    let steal = "UPDATE inventory SET stock = stock - 5 WHERE product_id = 'PROD-002'";
    stack.database.execute(steal).await;
    browser.shows("#invariants-part[open]").await;
    passes(&browser, "violated", &[(1280, 720), (390, 844)]).await;
    browser.was_clean().await;
}
