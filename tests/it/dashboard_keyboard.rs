//! The dashboard without a mouse: the list of products and the list of orders.

use fantoccini::key::Key;
use serde_json::json;

use crate::dashboard::{open, shows_text};
use crate::harness::{Stack, stock_of};

const FIELD: &str = "#order-form [name=product_id]";
const CHOSEN: &str = "#product-list [aria-selected=true]";

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_searched_and_chosen_by_keyboard_and_the_first_in_stock_is_proposed() {
    let stack = Stack::start().await;
    stack.database.execute(&stock_of(0)).await;
    let fill = "INSERT INTO inventory (product_id, stock) VALUES ('Q-LAMP', 7), ('Q-BELL', 0)";
    stack.database.execute(fill).await;
    let browser = open(&stack).await;
    let value = async || {
        browser
            .run("return document.querySelector('#product').value")
            .await
    };
    browser
        .until(
            "the proposal",
            "document.querySelector('#product').value === 'Q-LAMP'",
        )
        .await;
    shows_text(&browser, "#product-stock", "7 available").await;

    browser.tab_to(FIELD).await;
    browser.press(Key::Down).await;
    browser.shows("#product[aria-expanded=true]").await;
    shows_text(&browser, CHOSEN, "Q-LAMP").await;
    browser.press(Key::Up).await;
    let active = browser.run(
        "const id = document.querySelector('#product').getAttribute('aria-activedescendant');
        return document.getElementById(id).getAttribute('aria-selected')",
    );
    assert_eq!(active.await, "true");
    browser.press(Key::Escape).await;
    browser.shows("#product-list[hidden]").await;
    assert_eq!(value().await, "Q-LAMP", "Escape chooses nothing");

    // Typing searches, in any case. A sold-out product is marked, and can be chosen.
    browser.fill(FIELD, "q-b").await;
    shows_text(&browser, "#product-list [data-sold-out=true]", "sold out").await;
    assert_eq!(
        browser.attributes("#product-list li", "data-product").await,
        ["Q-BELL"]
    );
    browser.press(Key::Down).await;
    browser.press(Key::Enter).await;
    assert_eq!(value().await, "Q-BELL");
    browser.shows("#product-list[hidden]").await;
    assert_eq!(
        browser
            .run("return document.querySelector('#order-result').textContent")
            .await,
        "",
        "Enter in the list places no order"
    );
    browser.press(Key::Enter).await;
    browser.shows("#order-result[data-code=\"409\"]").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_the_orders_is_one_tab_stop() {
    let stack = Stack::start().await;
    for _ in 0..3 {
        stack.place("PROD-001", 1).await;
    }
    let browser = open(&stack).await;
    browser.shows("#orders tr:nth-child(3)").await;
    let stops = "return [...document.querySelectorAll('#orders tr')].map((row) =>
        [...row.querySelectorAll('a, button, [tabindex]')].filter((n) => n.tabIndex >= 0).length)";
    assert_eq!(browser.run(stops).await, json!([1, 1, 1]));
    browser.tab_to("#orders tr:first-child .open-order").await;
    browser.press(Key::Tab).await;
    assert!(
        browser
            .is_focused("#orders tr:nth-child(2) .open-order")
            .await
    );
    browser.press(Key::Enter).await;
    browser.shows("dialog#timeline[open] .events li").await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_the_unsettled_orders_is_one_tab_stop() {
    let mut stack = Stack::start().await;
    let browser = open(&stack).await;
    stack.inventory.process.kill().await.unwrap();
    for _ in 0..2 {
        assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    }
    browser.shows("#unsettled-orders li:nth-child(2)").await;
    let stops = "return [...document.querySelectorAll('#unsettled-orders li')].map((row) =>
        [...row.querySelectorAll('a, button, [tabindex]')].filter((n) => n.tabIndex >= 0).length)";
    assert_eq!(browser.run(stops).await, json!([1, 1]));
    let opener = |row: usize| format!("#unsettled-orders li:nth-child({row}) .open-order");
    browser.tab_to(&opener(1)).await;
    browser.press(Key::Tab).await;
    assert!(browser.is_focused(&opener(2)).await);
    // The timeline has the row's other action.
    browser.press(Key::Enter).await;
    browser.shows("dialog#timeline[open] #retry-order").await;
    browser.tab_to("#retry-order").await;
    stack.restart_inventory(&[]).await;
    browser.was_clean().await;
}
