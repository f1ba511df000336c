//! The dashboard in a real browser, on real processes.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::{Service, Stack, eventually};

const NEWEST: &str = "#orders tr:first-child";

/// Opens the page and waits until it shows the health, the live orders and the audit.
pub async fn open(stack: &Stack) -> Browser {
    let browser = Browser::open(&stack.order.url).await;
    browser.shows("#stream-status[data-state=live]").await;
    browser
        .shows("#health li[data-service=order-service][data-state=healthy]")
        .await;
    browser.shows("#audit[data-clean=true]").await;
    browser
}

/// Stops the refreshes of the page at its usual interval, and waits until the one that runs now has
/// ended.
pub async fn stop_refreshing(browser: &Browser) {
    let stop = "const { setTimeout } = window;
        window.setTimeout = (action, ...rest) => action.name === 'refresh'
            ? void (window.isStopped = true) : setTimeout(action, ...rest);";
    browser.run(stop).await;
    browser.until("the last refresh", "window.isStopped").await;
}

pub fn row(id: &str) -> String {
    format!("#orders tr[data-order-id=\"{id}\"]")
}

/// Waits until the visible text of an element contains this text.
pub async fn shows_text(browser: &Browser, css: &str, text: &str) {
    let expression = format!("document.querySelector({css:?})?.innerText.includes({text:?})");
    browser
        .until(&format!("{css} to show {text}"), &expression)
        .await;
}

/// Places an order through the form, and waits for its response.
async fn order(browser: &Browser, code: u16) -> String {
    let before = browser.attributes("#orders tr", "data-order-id").await;
    browser.click("#submit-order").await;
    browser
        .shows(&format!("#order-result[data-code=\"{code}\"]"))
        .await;
    let known = json!([before]);
    let script =
        "return [...document.querySelectorAll('#orders tr')].map((row) => row.dataset.orderId)
        .find((id) => !arguments[0].includes(id))";
    let id = eventually("the order's row", async || {
        browser
            .run_with(script, known.clone())
            .await
            .as_str()
            .map(str::to_owned)
    });
    id.await
}

async fn place(service: &Service, product: &str) -> String {
    let answer = service
        .post("/orders", &json!({"product_id": product, "quantity": 1}))
        .await;
    answer.json()["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer:?}"))
        .to_owned()
}

async fn shows_all_healthy(browser: &Browser) {
    for dependency in ["database", "inventory-service", "payment-service"] {
        let of = "[data-reported-by=order-service]";
        let good = "[data-state=connected], li[data-state=reachable]";
        browser
            .shows(&format!(
                "#health {of}[data-dependency={dependency}]:is({good})"
            ))
            .await;
    }
    assert_eq!(
        browser.attributes("#health > li", "data-state").await,
        ["healthy"; 3]
    );
}

/// All units are available or held, and every invariant holds.
async fn shows_balanced_audit(browser: &Browser, stack: &Stack) {
    browser.shows("#audit[data-clean=true]").await;
    assert_eq!(
        browser
            .attributes("#product-balances .product-balance", "data-balanced")
            .await,
        ["true"; 3]
    );
    let invariants = browser.attributes("#invariants li", "data-ok").await;
    let wanted = stack.audit().await.unwrap().invariants.len();
    assert_eq!(invariants, vec!["true"; wanted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checklist_works_through_the_page() {
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    shows_all_healthy(&browser).await;

    browser.fill("#order-form [name=quantity]", "2").await;
    let first = order(&browser, 201).await;
    browser
        .shows(&format!("{}[data-status=CONFIRMED]", row(&first)))
        .await;

    // A slow inventory: the client waits no longer than the deadline of the step, which the 202
    // says, and the light turns red.
    browser.click("#latency-toggle").await;
    browser.shows("#latency-toggle[aria-pressed=true]").await;
    let pending = order(&browser, 202).await;
    let shown = browser.text("#order-result").await;
    let seconds: f64 = shown
        .split_once("after ")
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        seconds >= 1.9 && shown.contains("Order is being processed"),
        "{shown}"
    );
    browser
        .shows(&format!("{}[data-status=PENDING_INVENTORY]", row(&pending)))
        .await;
    browser
        .run_with(
            "window.orderRow = document.querySelector(arguments[0])",
            json!([row(&pending)]),
        )
        .await;
    order(&browser, 202).await;
    browser.shows("#sla[data-status=red]").await;
    assert_eq!(browser.text("#sla-status").await.to_lowercase(), "red");
    assert!(
        browser
            .run("return document.title")
            .await
            .as_str()
            .unwrap()
            .contains("too slow")
    );

    // Inventory recovers: the order becomes confirmed in the same row of the page.
    browser.click("#latency-toggle").await;
    browser.shows("#latency-toggle[aria-pressed=false]").await;
    browser
        .until(
            "the order to be confirmed",
            "orderRow.dataset.status === 'CONFIRMED'",
        )
        .await;
    assert_eq!(
        browser.run("return orderRow.isConnected").await,
        true,
        "the same row, no reload"
    );
    browser.click("#order-form button[value=\"10\"]").await;
    browser
        .until(
            "ten answers",
            "document.querySelector('.response-counts [data-code=\"201\"] b')
                ?.textContent === '10'",
        )
        .await;
    browser.shows("#sla[data-status=green]").await;

    browser
        .click(&format!("{} .open-order", row(&pending)))
        .await;
    browser
        .shows("dialog#timeline[open] .events li[data-reason=confirmed][data-status=CONFIRMED]")
        .await;
    let reasons = browser.attributes("#events > li", "data-reason").await;
    assert_eq!(
        (reasons[0].as_str(), reasons[1].as_str()),
        ("placed", "inventory-timed-out"),
        "{reasons:?}"
    );
    let shown = browser.text(".events").await;
    assert!(
        shown.contains("the customer’s request") && shown.contains("recovery"),
        "{shown}"
    );
    browser.press(Key::Escape).await;
    browser.shows_no("dialog[open]").await;

    shows_balanced_audit(&browser, &stack).await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_loses_its_service_says_so_and_misses_no_change() {
    let mut stack = Stack::start().await;
    let elsewhere = stack.start_order_replica().await;
    let browser = open(&stack).await;
    let seen = place(&elsewhere, "PROD-001").await;
    browser
        .shows(&format!("{}[data-status=CONFIRMED]", row(&seen)))
        .await;

    stack.order.process.kill().await.unwrap();
    browser.shows("#stream-status:not([data-state=live])").await;
    browser.shows("body[data-offline=true]").await;
    let shown = browser.text("#notices").await;
    assert!(shown.contains("order-service has not responded"), "{shown}");
    assert!(browser.text("#stream-status").await.contains("not live"));
    // The orders that it knows stay visible and can be opened.
    browser.shows(&row(&seen)).await;
    browser
        .fill("#order-form [name=product_id]", "PROD-002")
        .await;
    browser.click(&format!("{} .open-order", row(&seen))).await;
    browser
        .until(
            "the timeline to show the error",
            "document.querySelector('#timeline-body .bad')",
        )
        .await;
    browser.press(Key::Escape).await;

    let mut missed = Vec::new();
    for product in ["PROD-001", "PROD-002", "PROD-404"] {
        let answer = elsewhere
            .post("/orders", &json!({"product_id": product, "quantity": 1}))
            .await
            .json();
        let id = ["id", "order_id"]
            .iter()
            .find_map(|member| answer[*member].as_str())
            .unwrap();
        missed.push((
            id.to_owned(),
            if product == "PROD-404" {
                "FAILED"
            } else {
                "CONFIRMED"
            },
        ));
    }
    // The list of orders fails from now on, so only a resumed stream can show these orders.
    browser.devtools("Network.enable", json!({})).await;
    browser
        .devtools("Network.setBlockedURLs", json!({"urls": ["*/orders?*"]}))
        .await;
    stack.restart_order(&[]).await;
    browser
        .until(
            "the page to be live again",
            "document.querySelector('#stream-status[data-state=live]')
                ?.innerText.includes('resumed')",
        )
        .await;
    browser.shows("body[data-offline=false]").await;
    for (id, status) in missed {
        browser
            .shows(&format!("{}[data-status={status}]", row(&id)))
            .await;
    }
    assert_eq!(
        browser
            .attributes("#orders tr", "data-order-id")
            .await
            .len(),
        4
    );
    browser.shows_no("#notices *").await;

    // A hidden page closes its stream. When it is visible again, it resumes where it ended.
    let hidden = async |is_hidden: bool| {
        let script = "Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true });
            document.dispatchEvent(new Event('visibilitychange'))";
        browser.run_with(script, json!([is_hidden])).await;
    };
    hidden(true).await;
    let unseen = place(&elsewhere, "PROD-003").await;
    hidden(false).await;
    browser
        .shows(&format!("{}[data-status=CONFIRMED]", row(&unseen)))
        .await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_service_injected_faults_and_a_violated_invariant_are_shown() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;

    stack.inventory.process.kill().await.unwrap();
    browser
        .shows("#health li[data-service=inventory-service][data-state=down]")
        .await;
    browser
        .shows(
            "#health li[data-reported-by=order-service][data-dependency=inventory-service]\
             [data-state=unreachable]",
        )
        .await;
    browser
        .until(
            "a notice",
            "document.querySelector('#notices').innerText.includes('inventory-service is down')",
        )
        .await;
    let pending = order(&browser, 202).await;
    stack.restart_inventory(&[]).await;
    browser
        .shows(&format!("{}[data-status=CONFIRMED]", row(&pending)))
        .await;
    browser
        .shows("#health li[data-service=inventory-service][data-state=healthy]")
        .await;
    browser.shows_no("#notices *").await;

    // The gremlin: a rule from a preset, its counts, and its end.
    browser.click("[data-preset=slow-inventory]").await;
    browser
        .shows(
            "#gremlin[data-state=active] #rules \
             li[data-service=inventory-service][data-active=true]",
        )
        .await;
    browser
        .shows("[data-preset=slow-inventory][aria-pressed=true]")
        .await;
    order(&browser, 202).await;
    let figure =
        |name| format!("document.querySelector('#rules [data-field={name}]')?.textContent");
    browser
        .until("a match", &format!("Number({}) > 0", figure("matched")))
        .await;
    assert_eq!(
        browser
            .run(&format!(
                "return {} === {}",
                figure("matched"),
                figure("fired")
            ))
            .await,
        true,
        "it hits each time"
    );
    let left = browser
        .run(&format!("return parseInt({})", figure("remaining")))
        .await;
    assert!((1..=60).contains(&left.as_i64().unwrap()), "{left}");
    browser.click("#stop-all-faults").await;
    browser.shows_no("#rules li").await;
    browser.shows("#gremlin[data-state=idle]").await;
    assert_eq!(
        stack.inventory.get("/gremlin/rules").await.json()["rules"],
        json!([])
    );

    // The audit: five units disappear from the stock.
    stack.wait_until_settled().await;
    browser.shows("#audit[data-clean=true]").await;
    let by_hand = json!({"product_id": "PROD-003", "quantity": 4});
    let held = stack
        .inventory
        .post("/inventory/reserve", &by_hand)
        .await
        .json();
    browser.shows("#orphan-reservations li").await;
    let text = browser.text("#orphan-reservations").await;
    assert!(
        text.contains("4 of PROD-003") && text.contains(held["order_id"].as_str().unwrap()),
        "{text}"
    );
    browser.shows("#audit[data-clean=true]").await;
    stack
        .database
        .execute("UPDATE inventory SET stock = stock - 5 WHERE product_id = 'PROD-002'")
        .await;
    browser.shows("#audit[data-clean=false]").await;
    let assert_clean_audit = browser
        .attributes("#product-balances li", "data-balanced")
        .await;
    assert_eq!(assert_clean_audit, ["true", "false", "true"]);
    browser
        .shows("#invariants li[data-name=stock-conserved][data-ok=false]")
        .await;
    assert!(
        browser
            .text(".product-balance[data-product=PROD-002]")
            .await
            .contains('≠')
    );
    browser.was_clean().await;
}

/// Text that looks like markup is shown as text, also on a phone, in dark mode and by keyboard.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_shown_as_text_on_a_phone_and_by_keyboard() {
    const HOSTILE: &str = "<img src=x onerror=alert(1)>";
    let stack = Stack::start().await;
    let long = "M".repeat(255);
    let in_stock = format!(
        "INSERT INTO inventory (product_id, stock) VALUES ('{HOSTILE}', 7), ('{long}', 100000)"
    );
    stack.database.execute(&in_stock).await;
    let browser = open(&stack).await;
    let images = browser.run("return document.images.length").await;

    // By keyboard: the form, the row, the timeline, and back to the row.
    browser.press(Key::Tab).await;
    assert!(
        browser.is_focused(".skip-link").await,
        "the first tab stop skips to the form"
    );
    browser.press(Key::Enter).await;
    browser.tab_to("[name=product_id]").await;
    browser.fill("[name=product_id]", HOSTILE).await;
    browser.press(Key::Enter).await;
    browser.shows("#order-result[data-code=\"201\"]").await;
    browser
        .shows(&format!("{NEWEST}[data-status=CONFIRMED]"))
        .await;
    assert_eq!(
        browser.text(&format!("{NEWEST} .open-order")).await,
        HOSTILE
    );
    browser.tab_to("#orders .open-order").await;
    browser.press(Key::Enter).await;
    browser
        .shows("dialog#timeline[open] .events li[data-reason=confirmed]")
        .await;
    assert!(
        browser
            .text("#timeline .order-product")
            .await
            .contains(HOSTILE)
    );
    browser.press(Key::Escape).await;
    browser.shows_no("dialog[open]").await;
    assert!(
        browser.is_focused("#orders .open-order").await,
        "the focus returns to the row"
    );

    let rule = json!({"kind": "error", "product_id": HOSTILE, "ttl_seconds": 60});
    assert_eq!(
        stack.payment.post("/gremlin/rules", &rule).await.status,
        201
    );
    browser
        .until(
            "the rule",
            &format!("document.querySelector('#rules').innerText.includes({HOSTILE:?})"),
        )
        .await;
    browser
        .until(
            "the product",
            &format!("document.querySelector('#product-balances').innerText.includes({HOSTILE:?})"),
        )
        .await;
    assert_eq!(
        browser.run("return document.images.length").await,
        images,
        "the text created no element"
    );
    browser.shows_no("[onerror], [src=x]").await;

    a_phone_in_the_dark(&browser, &stack, &long).await;
    browser.was_clean().await;
}

async fn a_phone_in_the_dark(browser: &Browser, stack: &Stack, long: &str) {
    const TOO_WIDE: &str = "return [...document.querySelectorAll('body, body *')].filter((node) =>
        node.getBoundingClientRect().right > 391
            && !node.closest('.scroll-area, dialog:not([open])'))
        .map((node) => node.outerHTML.slice(0, 120))";
    const LIGHTNESS: &str = "return getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)";
    place(&stack.order, long).await;
    browser.emulate(390, "light").await;
    browser
        .shows(&format!("{NEWEST}[data-status=CONFIRMED]"))
        .await;
    let scrolled = "return Math.max(0, document.documentElement.scrollWidth - 390)";
    assert_eq!(
        browser.run(scrolled).await,
        0,
        "{}",
        browser.run(TOO_WIDE).await
    );
    let light = browser.run(LIGHTNESS).await;
    browser.click(&format!("{NEWEST} .open-order")).await;
    browser.shows("dialog[open] .events li").await;
    assert_eq!(browser.run(TOO_WIDE).await, json!([]));
    browser.press(Key::Escape).await;

    browser.emulate(390, "dark").await;
    let dark = browser.run(LIGHTNESS).await;
    let of = |value: &Value| value.as_f64().unwrap();
    assert!(of(&dark) < of(&light) / 2.0, "{light} {dark}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gremlin_that_asks_for_a_token_gets_it_from_the_page() {
    let guarded = Stack::with(&[("GREMLIN_TOKEN", "s3cret")]).await;
    let browser = open(&guarded).await;
    browser.shows("#gremlin-locked:not([hidden])").await;
    browser.click("#gremlin-unlock").await;
    browser.shows("#token-dialog[open]").await;
    browser.fill("#token-dialog [name=token]", "s3cret").await;
    browser.press(Key::Enter).await;
    browser.shows("#gremlin-controls:not([hidden])").await;
    browser.click("#latency-toggle").await;
    browser.shows("#latency-toggle[aria-pressed=true]").await;
    let allowed = [("authorization", "Bearer s3cret")];
    let state = guarded
        .inventory
        .request(reqwest::Method::GET, "/gremlin/latency", &allowed, None)
        .await;
    assert_eq!(state.json()["enabled"], true);
    browser.was_clean().await;
}
