//! The actions of operators on the dashboard, in a real browser: they cancel, fulfil and retry
//! orders, and deliver stock.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::dashboard::{open, row, shows_text};
use crate::harness::browser::Browser;
use crate::harness::{Stack, eventually, stock_of};

const MESSAGE: &str = "#order-action-message";

/// Places an order over the API, and returns its id.
async fn place(stack: &Stack, product_id: &str) -> String {
    stack.place(product_id, 1).await.order_id()
}

async fn order(stack: &Stack, id: &str) -> Value {
    stack.order.order(id).await
}

async fn open_timeline(browser: &Browser, id: &str) {
    browser.click(&format!("{} .open-order", row(id))).await;
    browser.shows("dialog#timeline[open] #events li").await;
}

/// The visible buttons of the open timeline.
async fn actions(browser: &Browser) -> Vec<String> {
    browser
        .attributes("#order-actions button:not([hidden])", "id")
        .await
}

fn delivery(product_id: &str) -> String {
    format!(".product-balance[data-product={product_id}] .delivery")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_from_its_timeline_by_keyboard_after_a_question() {
    let stack = Stack::start().await;
    let id = place(&stack, "PROD-001").await;
    let browser = open(&stack).await;
    open_timeline(&browser, &id).await;
    assert_eq!(actions(&browser).await, ["fulfil-order", "cancel-order"]);
    // The calls that the request made.
    let steps = browser.attributes("#events .calls li", "data-step").await;
    assert_eq!(steps, ["reserve", "charge"]);
    let outcomes = browser.attributes("#events .calls li", "data-outcome");
    assert_eq!(outcomes.await, ["ok", "ok"]);

    // Escape and "Keep the order" close the question, and nothing else happens.
    browser.tab_to("#cancel-order").await;
    browser.press(Key::Enter).await;
    browser.shows("#cancel-question:not([hidden])").await;
    assert!(browser.is_focused("#keep-order").await);
    browser.press(Key::Escape).await;
    browser.shows("#cancel-question[hidden]").await;
    assert!(browser.is_focused("#timeline[open] #cancel-order").await);
    browser.press(Key::Enter).await;
    browser.press(Key::Enter).await;
    browser.shows("#cancel-question[hidden]").await;
    assert_eq!(order(&stack, &id).await["status"], "CONFIRMED");

    browser.press(Key::Enter).await;
    browser.tab_to("#confirm-cancel").await;
    browser.press(Key::Enter).await;
    shows_text(
        &browser,
        MESSAGE,
        "The order is cancelled, and owes nothing",
    )
    .await;
    browser
        .shows("#events li[data-reason=payment-refunded]")
        .await;
    let reasons = browser.attributes("#events > li", "data-reason").await;
    assert_eq!(reasons[..3], ["placed", "confirmed", "cancelled"]);
    shows_text(&browser, "#events", "Attempt 2 (operator)").await;
    shows_text(&browser, "#order-status", "cancelled").await;
    browser
        .until(
            "no action to be left",
            "document.querySelectorAll('#order-actions button:not([hidden])').length === 0",
        )
        .await;
    assert!(
        browser.is_focused("#timeline *").await,
        "the focus stays in the dialog"
    );
    browser.press(Key::Escape).await;
    browser
        .shows(&format!("{}[data-label=cancelled]", row(&id)))
        .await;
    assert_eq!(order(&stack, &id).await["failure_reason"], "cancelled");
    stack.assert_clean_audit().await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_fulfilled_from_its_timeline_and_then_cannot_be_cancelled() {
    let stack = Stack::start().await;
    let (id, other) = (
        place(&stack, "PROD-001").await,
        place(&stack, "PROD-001").await,
    );
    let browser = open(&stack).await;
    open_timeline(&browser, &id).await;
    browser.click("#fulfil-order").await;
    shows_text(&browser, MESSAGE, "its goods have left").await;
    browser
        .shows("#events li[data-reason=fulfilled] .calls [data-step=ship][data-outcome=ok]")
        .await;
    shows_text(&browser, "#order-facts", "Goods left at").await;
    assert!(actions(&browser).await.is_empty());
    browser.press(Key::Escape).await;
    browser
        .shows(&format!("{}[data-label=fulfilled]", row(&id)))
        .await;
    let details = format!("{} .cell-details", row(&id));
    assert_eq!(
        browser.text(&details).await,
        "",
        "recovery had no part in it"
    );

    // A page that has not seen the change yet: the service refuses, and the page says why.
    open_timeline(&browser, &other).await;
    let blind = "const original = window.fetch;
        window.fetch = (path, options) =>
            path === arguments[0] ? Promise.reject(new Error()) : original(path, options);";
    browser
        .run_with(blind, json!([format!("/orders/{other}")]))
        .await;
    let path = format!("/orders/{other}/fulfil");
    let fulfilled = stack.order.post(&path, &json!({})).await;
    assert_eq!(fulfilled.status, 200, "{fulfilled:?}");
    browser.click("#cancel-order").await;
    browser.click("#confirm-cancel").await;
    shows_text(&browser, MESSAGE, "The goods have left, or are about to.").await;
    browser.shows(&format!("{MESSAGE}[data-tone=bad]")).await;
    assert_eq!(order(&stack, &other).await["status"], "CONFIRMED");
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sold_out_product_can_be_ordered_after_a_delivery() {
    let stack = Stack::start().await;
    stack.database.execute(&stock_of(0)).await;
    let browser = open(&stack).await;
    browser
        .shows(".product-balance[data-product=PROD-002][data-sold-out=true]")
        .await;
    shows_text(&browser, &delivery("PROD-002"), "sold out").await;
    let option = "#product-list [role=option][data-product=PROD-002]";
    browser.click("#product-toggle").await;
    shows_text(&browser, option, "sold out").await;
    browser.click(option).await;
    shows_text(&browser, "#product-stock", "sold out").await;

    // Conflicts of several kinds are counted apart, each under its own name.
    let fault = json!({"kind": "error", "status": 409, "route": "/orders", "method": "POST",
        "max_fires": 2});
    let made = stack.order.post("/gremlin/rules", &fault).await;
    assert_eq!(made.status, 201, "{made:?}");
    browser.click("#order-form button[value=\"10\"]").await;
    shows_text(&browser, "#order-result", "10 answered in").await;
    shows_text(&browser, "#order-result", "8 taken, 8 finished: 8 sold out").await;
    shows_text(&browser, "#order-result", "2 refused: no order was made").await;
    let counts = browser.text(".response-counts").await;
    let counts: Vec<_> = counts.split_whitespace().collect();
    let counts = counts.join(" ");
    assert_eq!(counts, "2 409 injected-fault 8 409 not enough stock");

    let form = delivery("PROD-002");
    browser.fill(&format!("{form} [name=quantity]"), "3").await;
    browser.press(Key::Enter).await;
    shows_text(&browser, &form, "Delivered 3 units.").await;
    browser
        .shows(".product-balance[data-product=PROD-002][data-sold-out=false]")
        .await;
    shows_text(&browser, "#product-stock", "3 available").await;
    assert_eq!(stack.stock("PROD-002").await, (3, 0));
    browser.click("#submit-order").await;
    browser.shows("#order-result[data-code=\"201\"]").await;

    // A form's value that the service rejects is explained.
    let limit = format!("{form} [name=quantity]");
    browser.fill(&limit, "2000000000").await;
    browser.press(Key::Enter).await;
    browser
        .shows(&format!("{form} .action-message[data-tone=bad]"))
        .await;
    shows_text(&browser, &form, "Nothing was delivered.").await;
    assert_eq!(stack.stock("PROD-002").await, (2, 1));
    stack.assert_clean_audit().await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_answer_is_lost_is_made_once() {
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    let form = delivery("PROD-001");
    // The first answer is lost, and the page repeats the request by itself.
    let route = "/inventory/{product_id}/deliveries";
    let fault = json!({"kind": "vanish", "route": route, "max_fires": 1});
    let rule = stack.inventory.add_gremlin_rule(fault).await;
    browser.click(&format!("{form} button")).await;
    shows_text(&browser, &form, "Delivered 100 units.").await;
    assert_eq!(stack.inventory.gremlin_rule(rule).await["fired"], 1);
    assert_eq!(stack.stock("PROD-001").await, (200, 0));

    // All answers are lost. The next press for the same quantity finds out.
    let fault = json!({"kind": "vanish", "route": route});
    let rule = stack.inventory.add_gremlin_rule(fault).await;
    browser.click(&format!("{form} button")).await;
    shows_text(
        &browser,
        &form,
        "It is not known whether the units were delivered.",
    )
    .await;
    let path = format!("/gremlin/rules/{rule}");
    assert_eq!(stack.inventory.delete(&path).await.status, 204);
    browser.click(&format!("{form} button")).await;
    shows_text(&browser, &form, "Delivered 100 units.").await;
    assert_eq!(stack.stock("PROD-001").await, (300, 0));
    // Another press is another delivery.
    browser.click(&format!("{form} button")).await;
    eventually("the next delivery", async || {
        (stack.stock("PROD-001").await == (400, 0)).then_some(())
    })
    .await;
    browser.was_clean().await;
}

/// Keeps recovery from the order for an hour. Waits for an attempt that is in progress.
async fn postpone(stack: &Stack, id: &str) {
    let statement = format!(
        "UPDATE orders SET next_attempt_at = now() + interval '1 hour'
         WHERE id = '{id}' AND (lease_until IS NULL OR lease_until <= now()) RETURNING id"
    );
    eventually("no attempt to be in progress", async || {
        (stack.database.query(&statement).await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_order_shows_why_and_is_settled_by_a_retry() {
    const HOSTILE: &str = "<img src=x onerror=alert(1)>";
    let stack = Stack::with(&[("RECOVERY_BOUND_SECONDS", "8")]).await;
    let create = format!("INSERT INTO inventory (product_id, stock) VALUES ('{HOSTILE}', 7)");
    stack.database.execute(&create).await;
    let browser = open(&stack).await;
    shows_text(&browser, "#unsettled-count", "none").await;
    let fault = json!({"kind": "error", "status": 500, "route": "/payments/void"});
    let rule = stack.payment.add_gremlin_rule(fault).await;
    let id = place(&stack, HOSTILE).await;
    let cancelled = stack
        .order
        .post(&format!("/orders/{id}/cancel"), &json!({}))
        .await;
    assert_eq!(cancelled.json()["owes"], json!(["refund"]));
    postpone(&stack, &id).await;

    let row = format!("#unsettled-orders li[data-order-id=\"{id}\"]");
    for text in [
        HOSTILE,
        "cancelled",
        "Owes a refund for",
        "Next attempt in 59 min",
    ] {
        shows_text(&browser, &row, text).await;
    }
    shows_text(
        &browser,
        &row,
        "Last failure: refund failed (injected-fault) after",
    )
    .await;
    browser.shows(&format!("{row}[data-stuck=true]")).await;
    shows_text(&browser, &row, "stuck").await;
    browser.shows("#unsettled[data-state=stuck]").await;
    shows_text(&browser, "#unsettled-count", "1 order, 1 stuck").await;

    is_shown_on_a_phone(&browser, &id).await;

    browser.click(&format!("{row} .retry")).await;
    shows_text(&browser, "#unsettled-message", "Not settled: refund failed").await;
    postpone(&stack, &id).await;
    let path = format!("/gremlin/rules/{rule}");
    assert_eq!(stack.payment.delete(&path).await.status, 204);
    browser.click(&format!("{row} .retry")).await;
    shows_text(&browser, "#unsettled-message", "The order is settled.").await;
    browser.shows("#unsettled[data-state=none]").await;
    browser.shows_no(&row).await;
    assert!(
        browser.is_focused("#unsettled-title").await,
        "the focus stays in the panel"
    );
    browser.shows_no("[onerror], [src=x]").await;
    stack.assert_clean_audit().await;
    browser.was_clean().await;
}

/// The timeline of the order that owes a refund, on a phone in the dark.
async fn is_shown_on_a_phone(browser: &Browser, id: &str) {
    const TOO_WIDE: &str = "return [...document.querySelectorAll('body, body *')].filter((node) =>
        node.getBoundingClientRect().right > 391
            && !node.closest('.scroll-area, dialog:not([open])'))
        .map((node) => node.outerHTML.slice(0, 120))";
    browser.emulate(390, "dark").await;
    assert_eq!(browser.run(TOO_WIDE).await, json!([]));
    open_timeline(browser, id).await;
    shows_text(browser, "#order-facts", "a refund, since").await;
    shows_text(
        browser,
        "#order-facts",
        "refund failed (injected-fault) after",
    )
    .await;
    assert_eq!(actions(browser).await, ["retry-order"]);
    assert_eq!(browser.run(TOO_WIDE).await, json!([]));
    // The open timeline of an unsettled order keeps what the user has selected by keyboard.
    browser.tab_to("#order-facts [data-copy]").await;
    browser.run("window.focused = document.activeElement").await;
    browser.tab_to("#retry-order").await;
    browser.press(Key::Enter).await;
    shows_text(browser, MESSAGE, "Not settled: refund failed").await;
    assert!(browser.is_focused("#retry-order").await);
    assert_eq!(browser.run("return focused.isConnected").await, true);
    browser.press(Key::Escape).await;
    browser.emulate(1440, "light").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_the_operators_is_asked_for_and_sent_with_their_calls_only() {
    let tokens = [("OPERATOR_TOKEN", "op3rator"), ("GREMLIN_TOKEN", "gr3mlin")];
    let stack = Stack::with(&tokens).await;
    let id = place(&stack, "PROD-001").await;
    let browser = open(&stack).await;
    // Records which calls carry which token.
    let record = "const original = window.fetch; window.sent = [];
        window.fetch = (path, options = {}) => {
            const token = options.headers?.authorization;
            if (token) sent.push(`${options.method} ${path} ${token}`);
            return original(path, options);
        };";
    browser.run(record).await;
    let form = delivery("PROD-001");
    browser.click(&format!("{form} button")).await;
    browser.shows("#token-dialog[open]").await;
    shows_text(&browser, "#token-dialog", "Operator token").await;
    browser.fill("#token-dialog [name=token]", "wrong").await;
    browser.press(Key::Enter).await;
    shows_text(
        &browser,
        &form,
        "The token is missing or wrong. Nothing was changed.",
    )
    .await;
    assert_eq!(stack.stock("PROD-001").await, (99, 1));
    browser.click(&format!("{form} button")).await;
    browser.shows("#token-dialog[open]").await;
    browser.fill("#token-dialog [name=token]", "op3rator").await;
    browser.press(Key::Enter).await;
    shows_text(&browser, &form, "Delivered 100 units.").await;
    assert_eq!(stack.stock("PROD-001").await, (199, 1));

    // The tab keeps it: the next action does not ask again.
    open_timeline(&browser, &id).await;
    browser.click("#cancel-order").await;
    browser.click("#confirm-cancel").await;
    shows_text(&browser, MESSAGE, "The order is cancelled").await;
    browser.press(Key::Escape).await;
    // The gremlin has a token of its own.
    browser.click("#gremlin-unlock").await;
    shows_text(&browser, "#token-dialog[open]", "Gremlin token").await;
    browser.fill("#token-dialog [name=token]", "gr3mlin").await;
    browser.press(Key::Enter).await;
    browser.shows("#gremlin-controls:not([hidden])").await;
    browser.click("#stop-all-faults").await;
    shows_text(&browser, "#gremlin-message", "All faults are stopped.").await;
    browser.click(&format!("{form} button")).await;
    eventually("another delivery", async || {
        (stack.stock("PROD-001").await == (300, 0)).then_some(())
    })
    .await;

    let sent: Vec<String> = serde_json::from_value(browser.run("return sent").await).unwrap();
    let deliveries = "POST /services/inventory-service/inventory/PROD-001/deliveries";
    let operators: Vec<_> = sent
        .iter()
        .filter(|call| !call.contains("gremlin"))
        .collect();
    let expected = [
        format!("{deliveries} Bearer wrong"),
        format!("{deliveries} Bearer wrong"),
        format!("{deliveries} Bearer op3rator"),
        format!("POST /orders/{id}/cancel Bearer op3rator"),
        format!("{deliveries} Bearer op3rator"),
    ];
    assert_eq!(operators, expected.iter().collect::<Vec<_>>(), "{sent:?}");
    let of_gremlin = sent.iter().filter(|call| call.contains("/gremlin/"));
    assert!(of_gremlin.clone().count() > 0);
    for call in of_gremlin {
        assert!(call.ends_with("Bearer gr3mlin"), "{call}");
    }
    // Stored for this tab only.
    let stored = browser
        .run("return [localStorage.length, document.cookie]")
        .await;
    assert_eq!(stored, json!([0, ""]));
    browser.was_clean().await;
}
