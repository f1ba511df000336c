//! The areas of the dashboard, in a real browser: they fit into the window, and do not move.

use serde_json::json;

use crate::dashboard::{open, shows_text};
use crate::harness::Stack;
use crate::harness::browser::Browser;

/// Returns the panels of the projector view that are not completely in the window.
const OUTSIDE_THE_WINDOW: &str = "const shown = ['#flow', '#sla', '#sla .lamp', '#unfinished',
        '#order-form', '#recent-orders', '#orders tr:first-child', '#gremlin', '#stop-all-faults',
        '#latency-toggle', '#audit', '#audit-result', '#invariants-summary', '#order-counts'];
    return shown.filter((css) => {
        const node = document.querySelector(css);
        const { top, left, bottom, right, width, height } = node.getBoundingClientRect();
        const area = node.closest('.column').getBoundingClientRect();
        return !(width > 0 && height > 0) || top < 0 || left < 0 || right > innerWidth
            || bottom > innerHeight || bottom > area.bottom + 1;
    })";
/// Whether the tally of a burst is completely in its area.
const SHOWS_TALLY: &str = "const [tally, area] = ['.burst-tally', '#order-result']
        .map((css) => document.querySelector(css).getBoundingClientRect().bottom);
    return tally <= area";
const SCROLLED: &str = "const { scrollHeight, scrollWidth } = document.documentElement;
    return [scrollHeight - innerHeight, scrollWidth - innerWidth]";

async fn top_of(browser: &Browser, css: &str) -> f64 {
    let script = format!("return document.querySelector({css:?}).getBoundingClientRect().top");
    browser.run(&script).await.as_f64().unwrap()
}

/// Waits until the window has this width, and the diagram of the flow is drawn for it. A browser
/// first scales the diagram that it has, so that what is below it moves once more.
async fn is_drawn_for(browser: &Browser, width: u32) {
    let drawn = format!(
        "innerWidth === {width} && (() => {{
            const layer = document.querySelector('.flow-layer');
            return Math.abs(layer.viewBox.baseVal.width - layer.clientWidth) < 1;
        }})()"
    );
    browser.until("the diagram of this width", &drawn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_projector_view_fits_one_window_without_scrolling() {
    // Both endings have two digits.
    let stack = Stack::with(&[("PAYMENT_SUCCESS_RATE", "0.5")]).await;
    for _ in 0..12 {
        stack.place("PROD-001", 1).await;
    }
    let browser = open(&stack).await;
    browser.click("#present-link").await;
    browser.shows(":root[data-present]").await;
    browser.shows("#stream-status[data-state=live]").await;
    browser.shows("#audit[data-clean=true]").await;
    browser.shows("#orders tr").await;
    browser.click("#order-form button[value=\"50\"]").await;
    browser.shows(".burst[data-finished=true]").await;
    shows_text(&browser, "#invariants-summary", "invariants hold").await;
    for (width, height) in [(1920, 1080), (1280, 720)] {
        browser.emulate_screen(width, height, "light").await;
        is_drawn_for(&browser, width).await;
        assert_eq!(browser.run(OUTSIDE_THE_WINDOW).await, json!([]), "{width}");
        assert_eq!(browser.run(SCROLLED).await, json!([0, 0]), "{width}");
        assert_eq!(browser.run(SHOWS_TALLY).await, true, "{width}");
    }
    browser.click("#present-link").await;
    browser.shows_no(":root[data-present]").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_unsettled_orders_move_no_panel_of_a_large_screen() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    browser.emulate_screen(1920, 1080, "light").await;
    is_drawn_for(&browser, 1920).await;
    let panels = ["#latency-toggle", "#recent-orders", "#rate-chart", "#audit"];
    let mut before = Vec::new();
    for panel in panels {
        before.push(top_of(&browser, panel).await);
    }
    stack.inventory.process.kill().await.unwrap();
    browser.click("#order-form button[value=\"10\"]").await;
    browser.shows(".burst[data-placed=true]").await;
    browser.shows("#unsettled:not([data-state=none]) li").await;
    for (panel, before) in panels.into_iter().zip(before) {
        let moved = (top_of(&browser, panel).await - before).abs();
        assert!(moved < 2.0, "{panel} moved by {moved}");
    }
    let bottom = "return document.querySelector('.chart-pair').getBoundingClientRect().bottom
        <= innerHeight";
    assert_eq!(
        browser.run(bottom).await,
        true,
        "the charts are in the window"
    );
    stack.restart_inventory(&[]).await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_move_no_panel_unless_the_screen_is_narrow() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    let screens = [(1920, 1080), (1280, 720)];
    let mut before = Vec::new();
    for (width, height) in screens {
        browser.emulate_screen(width, height, "light").await;
        is_drawn_for(&browser, width).await;
        before.push(top_of(&browser, "#flow").await);
    }
    stack.inventory.process.kill().await.unwrap();
    stack.payment.process.kill().await.unwrap();
    browser.shows("#notices p:nth-child(2)").await;
    for ((width, height), before) in screens.into_iter().zip(before) {
        browser.emulate_screen(width, height, "light").await;
        is_drawn_for(&browser, width).await;
        let moved = (top_of(&browser, "#flow").await - before).abs();
        assert!(moved < 2.0, "{width}: the flow moved by {moved}");
    }
    stack.restart_inventory(&[]).await;
    stack.restart_payment(&[]).await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_show_when_the_gremlin_injected_a_fault() {
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    browser.shows_no(".fault-band").await;
    browser.click("#latency-toggle").await;
    browser.shows("#rate-chart .fault-band").await;
    browser.shows("#latency-chart .fault-band").await;
    browser.click("#latency-toggle").await;
    browser.shows("#gremlin[data-state=idle]").await;
    // The fault is over: its band ends before the end of the chart.
    let ends = "(() => {
        const band = document.querySelector('#rate-chart .fault-band').getBoundingClientRect();
        const grid = document.querySelector('#rate-chart .chart-grid').getBoundingClientRect();
        return band.right < grid.right - 1;
    })()";
    browser.until("the end of the fault", ends).await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_flow_overlaps_on_a_phone() {
    const OVERLAPS: &str = "const boxes = [...document.querySelectorAll('.flow-node')]
            .map((node) => [node.dataset.node, node.querySelector('.flow-frame')
                .getBoundingClientRect()]);
        const texts = [...document.querySelectorAll('.flow-node:not([data-node=customer])')]
            .flatMap((node) => [...node.querySelectorAll('.flow-name, .flow-value')]
                .map((text) => [node, text.getBoundingClientRect()]));
        const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top
            || b.bottom <= a.top;
        return [
            ...boxes.flatMap(([name, box], i) => boxes.slice(i + 1)
                .filter(([, other]) => !apart(box, other)).map(([other]) => [name, other])),
            ...texts.filter(([node, text]) => {
                const box = node.querySelector('.flow-frame').getBoundingClientRect();
                return text.left < box.left || text.right > box.right;
            }).map(([node]) => [node.dataset.node, 'text']),
        ]";
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    for width in [390, 320] {
        browser.emulate(width, "light").await;
        is_drawn_for(&browser, width).await;
        assert_eq!(browser.run(OVERLAPS).await, json!([]), "{width}");
        assert_eq!(browser.run("return document.body.scrollWidth").await, width);
    }
    browser.was_clean().await;
}
