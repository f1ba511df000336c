//! Values that a newer version has written. An unknown value is shown unchanged, or only the
//! requests for its order fail.

use serde_json::json;

use crate::harness::{Stack, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_failure_reason_is_shown_unchanged_and_its_order_is_settled() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-404", 1).await.status, 422);
    stack.wait_until_settled().await;
    let newer = "UPDATE orders SET failure_reason = 'something-newer', refund_owed = true,
        owed_since = now(), next_attempt_at = now()";
    stack.database.execute(newer).await;
    let orders = stack.order.get("/orders").await;
    assert_eq!(orders.status, 200, "{orders:?}");
    let order = &orders.json()["orders"][0];
    assert_eq!(
        (&order["failure_reason"], &order["owes"]),
        (&json!("something-newer"), &json!(["refund"]))
    );
    stack.wait_until_settled().await;
    let id = order["id"].as_str().unwrap();
    let settled = stack.order.get(&format!("/orders/{id}")).await.json();
    assert_eq!(
        (&settled["failure_reason"], &settled["settled"]),
        (&json!("something-newer"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_status_of_an_order_or_event_is_listed_unchanged() {
    let stack = Stack::start().await;
    let order = stack.place("PROD-001", 1).await.json();
    let id = order["id"].as_str().unwrap();
    let newer = "ALTER TABLE orders DROP CONSTRAINT orders_status_known;
        UPDATE orders SET status = 'NEWER';
        UPDATE order_events SET status = 'NEWER', reason = 'newer'";
    stack.database.execute(newer).await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    assert_eq!(stack.order.get("/orders").await.status, 200);
    let shown = stack.order.get(&format!("/orders/{id}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let shown = shown.json();
    assert_eq!(
        (&shown["status"], &shown["events"][0]["status"]),
        (&json!("NEWER"), &json!("NEWER"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_a_reservation_with_an_unknown_state_are_rejected_and_change_nothing() {
    let stack = Stack::start().await;
    let order = stack.place("PROD-001", 2).await.json();
    let newer = "ALTER TABLE reservations DROP CONSTRAINT reservations_state_known;
        UPDATE reservations SET state = 'NEWER'";
    stack.database.execute(newer).await;
    let reserve =
        json!({"product_id": "PROD-001", "quantity": 2, "order_id": order["id"], "epoch": 2});
    stack
        .inventory
        .post("/inventory/reserve", &reserve)
        .await
        .assert_problem(409, "unrecognized-state");
    let of_order = json!({"order_id": order["id"]});
    for path in ["/inventory/release", "/inventory/ship"] {
        let rejected = stack.inventory.post(path, &of_order).await;
        rejected.assert_problem(409, "unrecognized-state");
    }
    assert_eq!(
        stack
            .database
            .count("SELECT count(*) FROM reservations WHERE state = 'NEWER'")
            .await,
        1
    );
    assert_eq!(stack.stock("PROD-001").await, (98, 2));
    assert_eq!(
        stack.place("PROD-001", 1).await.status,
        201,
        "other orders are not affected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_a_payment_with_an_unknown_status_are_rejected_and_change_nothing() {
    let stack = Stack::start().await;
    let order = stack.place("PROD-001", 1).await.json();
    let newer = "ALTER TABLE payments DROP CONSTRAINT payments_status_known;
        UPDATE payments SET status = 'NEWER'";
    stack.database.execute(newer).await;
    let of_order = json!({"order_id": order["id"]});
    for path in ["/payments", "/payments/void"] {
        stack
            .payment
            .post(path, &of_order)
            .await
            .assert_problem(409, "unrecognized-state");
    }
    assert_eq!(
        stack
            .database
            .count("SELECT count(*) FROM payments WHERE status = 'NEWER'")
            .await,
        1
    );
    // An order that owes a refund of this payment stays unsettled. Other orders are not affected.
    let owing = "UPDATE orders SET status = 'FAILED', failure_reason = 'expired',
        refund_owed = true, owed_since = now(), next_attempt_at = now()";
    stack.database.execute(owing).await;
    eventually("a refund to be rejected", async || {
        let rejected = |line: &String| {
            line.contains("\"step\":\"refund\"") || line.contains("no usable response")
        };
        stack.order.lines().iter().any(rejected).then_some(())
    })
    .await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
}
