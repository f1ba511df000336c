//! The summary on the dashboard, in a real browser: the answer time, the orders that are not
//! finished, and whether the invariants hold.

use std::time::Instant;

use serde_json::json;

use crate::dashboard::{open, shows_text, stop_refreshing};
use crate::harness::browser::Browser;
use crate::harness::{Stack, stock_of};

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
    shows_text(
        &browser,
        "#unfinished-detail",
        "orders unfinished, the oldest ",
    )
    .await;
    assert_eq!(browser.text("#sla-status").await, "green");
    three_digits_fit_on_a_phone(&browser).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn violated_invariants_fill_a_banner_and_an_unfinished_check_is_not_called_balanced() {
    const HOSTILE: &str = "<img src=x onerror=alert(1)>";
    let stack = Stack::start().await;
    let create = format!("INSERT INTO inventory (product_id, stock) VALUES ('{HOSTILE}', 7)");
    stack.database.execute(&create).await;
    let browser = open(&stack).await;
    browser.shows("#violations[hidden]").await;

    // A check that cannot read its tables.
    let session = stack.database.session().await;
    let lock = "BEGIN; LOCK TABLE reservations IN ACCESS EXCLUSIVE MODE";
    session.batch_execute(lock).await.unwrap();
    browser.shows("#audit[data-clean=unknown]").await;
    shows_text(&browser, "#audit-title", "could not be checked").await;
    shows_text(&browser, "#audit-unchecked", "The figures below are of").await;
    browser.shows("#violations[hidden]").await;
    session.batch_execute("ROLLBACK").await.unwrap();
    browser.shows("#audit[data-clean=true]").await;
    browser.shows("#audit-unchecked[hidden]").await;
    let title = browser.run("return document.querySelector('#audit-title').textContent");
    let title = title.await;
    let words: Vec<_> = title.as_str().unwrap().split_whitespace().collect();
    assert_eq!(words.join(" "), "Consistency check: balanced");

    let steal = format!("UPDATE inventory SET stock = stock - 5 WHERE product_id = '{HOSTILE}'");
    stack.database.execute(&steal).await;
    browser.shows("#violations:not([hidden])").await;
    shows_text(&browser, "#violations", "1 invariant violated").await;
    let item = "#violated-invariants li[data-name=stock-conserved]";
    shows_text(&browser, item, HOSTILE).await;
    let title = browser.run("return document.title").await;
    assert_eq!(title, json!("✖ Valerix: 1 invariant violated"));
    // First in the panel, too, and across the whole page.
    let first = "return document.querySelector('#audit-unchecked').nextElementSibling
        .querySelector('li').dataset.name";
    assert_eq!(browser.run(first).await, "stock-conserved");
    let width = "return document.querySelector('#violations').offsetWidth
        === document.documentElement.clientWidth";
    assert_eq!(browser.run(width).await, true);
    browser.emulate(390, "dark").await;
    assert_eq!(browser.run(width).await, true);
    assert_eq!(browser.run("return document.body.scrollWidth").await, 390);
    browser.shows_no("[onerror], [src=x]").await;

    // While it cannot be checked again, the violation stays on the page.
    session.batch_execute(lock).await.unwrap();
    shows_text(&browser, "#violations", "It could not be checked again.").await;
    session.batch_execute("ROLLBACK").await.unwrap();
    let give_back =
        format!("UPDATE inventory SET stock = stock + 5 WHERE product_id = '{HOSTILE}'");
    stack.database.execute(&give_back).await;
    browser.shows("#violations[hidden]").await;
    browser.shows("#audit[data-clean=true]").await;
    assert_eq!(browser.run("return document.title").await, "Valerix");
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cell_of_a_burst_turns_when_its_order_ends_and_the_endings_are_counted() {
    let mut stack = Stack::start().await;
    stack.database.execute(&stock_of(3)).await;
    let browser = open(&stack).await;
    // One order is refused; the others are taken and wait.
    let fault = json!({"kind": "error", "status": 503, "route": "/orders", "method": "POST",
        "max_fires": 1});
    stack.order.add_gremlin_rule(fault).await;
    stack.inventory.process.kill().await.unwrap();
    browser.click("#order-form button[value=\"10\"]").await;
    browser.shows(".burst[data-placed=true]").await;
    shows_text(&browser, ".burst-tally", "9 taken, 0 finished").await;
    shows_text(&browser, ".burst-refused", "1 refused: no order was made").await;
    browser.shows(".burst[data-finished=false]").await;
    let tones = browser.attributes(".burst-cells i", "class").await;
    let waiting = tones.iter().filter(|tone| *tone == "waiting").count();
    assert_eq!(waiting, 9, "{tones:?}");

    stack.restart_inventory(&[]).await;
    browser.shows(".burst[data-finished=true]").await;
    let tally = "9 taken, 9 finished: 6 sold out, 3 confirmed";
    assert_eq!(browser.text(".burst-tally").await, tally);
    let cells = browser.attributes(".burst-cells i", "class").await;
    assert_eq!(cells.len(), 10);
    for (status, orders) in [("CONFIRMED", 3), ("FAILED", 6)] {
        let cells = format!(".burst-cells i[data-status={status}]");
        assert_eq!(browser.attributes(&cells, "class").await.len(), orders);
    }
    browser.was_clean().await;
}

/// The number of the waiting orders stays inside its box in the flow diagram.
async fn three_digits_fit_on_a_phone(browser: &Browser) {
    const OUTSIDE: &str = "const [box, text] = ['.flow-frame', '.flow-value'].map((css) =>
            document.querySelector(`[data-node=waiting] ${css}`).getBoundingClientRect());
        const dots = [...document.querySelectorAll('[data-node=waiting] circle')]
            .map((dot) => dot.getBoundingClientRect().bottom);
        return text.left < box.left + 4 || text.right > box.right - 4 || text.bottom > box.bottom
            || Math.max(...dots) > text.top + 4";
    browser.emulate(390, "light").await;
    let text = "document.querySelector('[data-node=waiting] .flow-value').textContent";
    browser
        .until("the number on a phone", &format!("{text} === '105waiting'"))
        .await;
    assert_eq!(browser.run(OUTSIDE).await, false);
    assert_eq!(browser.run("return document.body.scrollWidth").await, 390);
    browser.emulate(1440, "light").await;
    browser
        .until("the number", &format!("{text} === '105 waiting'"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_grey_with_its_reason_and_no_fault() {
    let stack = Stack::with(&[("PAYMENT_SUCCESS_RATE", "0")]).await;
    let browser = open(&stack).await;
    for (product, label, reason) in [
        ("PROD-001", "declined", "payment declined"),
        ("PROD-002", "sold out", "not enough stock"),
        ("PROD-404", "unknown product", "unknown product"),
    ] {
        browser.fill("#order-form [name=product_id]", product).await;
        browser.click("#submit-order").await;
        let row = format!("#orders tr[data-status=FAILED][data-label=\"{label}\"]");
        browser.shows(&format!("{row} .status-label.neutral")).await;
        shows_text(&browser, &format!("{row} .cell-details"), reason).await;
        shows_text(&browser, "#order-result", "after").await;
        browser.shows("#order-result[data-tone=neutral]").await;
        stack.database.execute(&stock_of(0)).await;
    }
    browser.shows_no("#orders .bad").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn breakers_and_rates_are_unknown_while_the_metrics_cannot_be_read() {
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    browser.devtools("Network.enable", json!({})).await;
    let block = async |urls: serde_json::Value| {
        browser
            .devtools("Network.setBlockedURLs", json!({"urls": urls}))
            .await;
    };
    block(json!(["*/metrics"])).await;
    for dependency in ["inventory", "payment"] {
        let connection = format!(
            "[...document.querySelectorAll('.flow-connection[data-state=breaker-unknown]')]
                .length === 2 && document.querySelector('[data-node={dependency}] .flow-value')
                .textContent === 'unknown'"
        );
        browser.until("unknown breakers", &connection).await;
    }
    browser
        .shows(".breaker-label[data-state=unknown] rect")
        .await;
    let described = browser.attributes("#flow [role=img]", "aria-label").await;
    assert!(
        described[0].contains("circuit breaker of payment-service unknown"),
        "{described:?}"
    );
    block(json!([])).await;
    browser.shows_no(".breaker-label rect").await;
    browser
        .shows_no(".flow-connection[data-state=breaker-unknown]")
        .await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_counts_follow_a_change_without_waiting_for_the_next_poll() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    stop_refreshing(&browser).await;
    let counts = async || line(&browser, "#order-counts").await;
    assert!(counts().await.contains("orders 0"), "{}", counts().await);

    let before = browser.text("#product-stock").await;
    // The result of an audit that takes long is reused for about as long as the audit took.
    let asked = Instant::now();
    stack.audit().await.unwrap();
    tokio::time::sleep(asked.elapsed()).await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let counted = |name: &str, n: u32| {
        format!(
            "document.querySelector('#order-counts [data-key=\"{name}\"] dd').textContent === '{n}'"
        )
    };
    browser.until("the order", &counted("confirmed", 1)).await;
    assert_ne!(browser.text("#product-stock").await, before);

    stack.inventory.process.kill().await.unwrap();
    assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    browser.until("the order", &counted("unsettled", 1)).await;
    shows_text(&browser, "#unfinished-count", "1").await;
    shows_text(&browser, "#unsettled-count", "1 order").await;
    let waiting = "document.querySelector('[data-node=waiting] .flow-value').textContent";
    browser
        .until("the order to wait", &format!("{waiting} === '1 waiting'"))
        .await;
    stack.restart_inventory(&[]).await;
    browser.until("the end", &counted("unsettled", 0)).await;
    browser.shows("#unfinished[data-state=none]").await;
    browser.shows("#unsettled[data-state=none]").await;
    browser.was_clean().await;
}
