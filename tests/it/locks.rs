//! A row that another session has locked delays only the orders that need it.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{LONG_STEPS, Stack, eventually, stock_of};

/// Units of each product.
const PLENTY: i32 = 100_000;

/// Places 15 times 8 concurrent orders of a product, and checks that all are confirmed.
async fn assert_orders_are_confirmed(stack: &Stack, product: &str) {
    for _ in 0..15 {
        for response in join_all((0..8).map(|_| stack.place(product, 1))).await {
            assert_eq!(response.status, 201, "{response:?}");
        }
    }
}

fn breaker_changes(stack: &Stack) -> usize {
    stack
        .order
        .lines()
        .iter()
        .filter(|line| line.contains("breaker changed"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_product_delays_only_the_orders_of_that_product() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    stack.database.execute(&stock_of(PLENTY)).await;
    let session = stack.database.session().await;
    let lock = "BEGIN;
        WITH moved AS (
            UPDATE inventory SET stock = stock + 5, stocked = stocked + 5
            WHERE product_id = 'PROD-001' RETURNING stock, reserved, stocked)
        INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
        SELECT 'PROD-001', 5, stock, reserved, stocked FROM moved";
    session.batch_execute(lock).await.unwrap();
    let locked = join_all((0..30).map(|_| stack.place("PROD-001", 1)));
    let (locked, ()) = tokio::join!(locked, assert_orders_are_confirmed(&stack, "PROD-002"));
    for response in &locked {
        assert_eq!(
            (response.status.as_u16(), &response.json()["status"]),
            (202, &json!("PENDING_INVENTORY"))
        );
    }
    // Orders of another product are confirmed also while recovery retries the pending ones.
    assert_orders_are_confirmed(&stack, "PROD-003").await;
    assert_eq!(
        breaker_changes(&stack),
        0,
        "a lock on one product opens no breaker"
    );
    session.batch_execute("COMMIT").await.unwrap();
    stack.wait_until_settled().await;
    let confirmed =
        "SELECT count(*) FROM orders WHERE product_id = 'PROD-001' AND status = 'CONFIRMED'";
    assert_eq!(stack.database.count(confirmed).await, 30);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_a_short_lock_is_confirmed_by_its_request() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let session = stack.database.session().await;
    session
        .batch_execute("BEGIN; SELECT FROM inventory WHERE product_id = 'PROD-001' FOR UPDATE")
        .await
        .unwrap();
    let unlock = async {
        let waiting = r#"valerix_batch_locked_items_total{work="reserve"}"#;
        eventually("the reserve to wait for the lock", async || {
            (stack.inventory.metric(waiting).await > 0.0).then_some(())
        })
        .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (response, ()) = tokio::join!(stack.place("PROD-001", 1), unlock);
    assert_eq!(response.status, 201, "{response:?}");
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_ledger_row_delays_only_its_order() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    stack.database.execute(&stock_of(PLENTY)).await;
    let order = Uuid::new_v4();
    let reserve = json!({"product_id": "PROD-001", "quantity": 1, "order_id": order});
    assert_eq!(
        stack
            .inventory
            .post("/inventory/reserve", &reserve)
            .await
            .status,
        200
    );
    let session = stack.database.session().await;
    let lock = format!("BEGIN; SELECT FROM reservations WHERE order_id = '{order}' FOR UPDATE");
    session.batch_execute(&lock).await.unwrap();
    let takeover = json!({"product_id": "PROD-001", "quantity": 1, "order_id": order, "epoch": 2});
    let release = json!({"order_id": order});
    let deadline = [("x-deadline-ms", "10000")];
    let (takeover, release) = (takeover.to_string(), release.to_string());
    let (reserved, released, ()) = tokio::join!(
        stack.inventory.request(
            Method::POST,
            "/inventory/reserve",
            &deadline,
            Some(&takeover)
        ),
        stack.inventory.request(
            Method::POST,
            "/inventory/release",
            &deadline,
            Some(&release)
        ),
        assert_orders_are_confirmed(&stack, "PROD-001"),
    );
    for response in [reserved, released] {
        response.assert_problem(503, "locked");
        assert!(
            response.header("retry-after").parse::<u32>().is_ok(),
            "a retry is safe, because nothing was stored: {response:?}"
        );
    }
    session.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        stack
            .inventory
            .request(Method::POST, "/inventory/release", &[], Some(&release))
            .await
            .status,
        200
    );
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_order_delays_no_other_order() {
    let stack = Stack::start().await;
    stack.database.execute(&stock_of(PLENTY)).await;
    stack.inventory.set_latency(true, 30_000).await;
    let pending = stack.place("PROD-001", 1).await;
    assert_eq!(pending.status, 202);
    let session = stack.database.session().await;
    let lock = format!(
        "BEGIN; SELECT FROM orders WHERE id = {} FOR UPDATE",
        sql_text(&pending.json()["id"])
    );
    session.batch_execute(&lock).await.unwrap();
    // The row of an order in progress is locked too, so its change to CONFIRMED has to wait.
    stack.inventory.set_latency(true, 1500).await;
    let lock_next = async {
        let placed = "SELECT count(*) FROM orders WHERE product_id = 'PROD-003'";
        eventually("the order to be stored", async || {
            (stack.database.count(placed).await == 1).then_some(())
        })
        .await;
        let lock = "SELECT FROM orders WHERE product_id = 'PROD-003' FOR UPDATE";
        session.batch_execute(lock).await.unwrap();
        stack.inventory.set_latency(false, 0).await;
        assert_orders_are_confirmed(&stack, "PROD-002").await;
    };
    let (delayed, ()) = tokio::join!(stack.place("PROD-003", 1), lock_next);
    assert_eq!(
        delayed.status, 202,
        "the status cannot be stored now, so recovery stores it later: {delayed:?}"
    );
    session.batch_execute("COMMIT").await.unwrap();
    stack.wait_until_settled().await;
    let confirmed =
        "SELECT count(*) FROM orders WHERE status = 'CONFIRMED' AND product_id <> 'PROD-002'";
    assert_eq!(stack.database.count(confirmed).await, 2);
    stack.assert_clean_audit().await;
}

fn sql_text(id: &serde_json::Value) -> String {
    format!("'{}'", id.as_str().unwrap())
}
