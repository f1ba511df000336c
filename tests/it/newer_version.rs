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
    let newer = "ALTER DOMAIN order_status DROP CONSTRAINT order_status_known;
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
async fn orders_that_a_newer_version_has_written_are_not_changed_by_operators() {
    let stack = Stack::start().await;
    let failed = stack.place("PROD-404", 1).await.order_id();
    let unknown = stack.confirmed("PROD-001", 1).await;
    stack.wait_until_settled().await;
    let newer = format!(
        "ALTER DOMAIN order_status DROP CONSTRAINT order_status_known;
         UPDATE orders SET failure_reason = 'something-newer' WHERE id = '{failed}';
         UPDATE orders SET status = 'NEWER' WHERE id = '{unknown}'"
    );
    stack.database.execute(&newer).await;
    for (id, action, code) in [
        (&failed, "cancel", "already-failed"),
        (&failed, "fulfil", "not-confirmed"),
        (&unknown, "cancel", "unrecognized-state"),
        (&unknown, "fulfil", "unrecognized-state"),
    ] {
        let row = stack.row(id).await;
        let refused = stack.order.act(action, id).await;
        assert_eq!(refused.assert_problem(409, code)["order_id"], json!(id));
        assert_eq!(stack.row(id).await, row, "{action}");
    }
    for (id, status) in [(&failed, "FAILED"), (&unknown, "NEWER")] {
        let row = stack.row(id).await;
        let retried = stack.order.act("retry", id).await;
        assert_eq!(
            (retried.status.as_u16(), &retried.json()["status"]),
            (200, &json!(status))
        );
        assert_eq!(stack.row(id).await, row);
    }
    assert_eq!(stack.holdings(&unknown).await, "HELD SUCCESS");
    let other = stack.confirmed("PROD-001", 1).await;
    assert_eq!(stack.order.act("cancel", &other).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_a_newer_version_has_written_is_not_shipped() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 1).await;
    let newer = "ALTER DOMAIN reservation_state DROP CONSTRAINT reservation_state_known;
        UPDATE reservations SET state = 'NEWER'";
    stack.database.execute(newer).await;
    let accepted = stack.order.act("fulfil", &id).await;
    let order = accepted.json();
    assert_eq!(
        (accepted.status.as_u16(), &order["owes"]),
        (202, &json!(["shipment"]))
    );
    assert_eq!(order["last_failure"]["detail"], "unrecognized-state");
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let known = "UPDATE reservations SET state = 'HELD' WHERE state = 'NEWER'";
    stack.database.execute(known).await;
    stack.wait_until_settled().await;
    assert_eq!(stack.holdings(&id).await, "SHIPPED SUCCESS");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_a_reservation_with_an_unknown_state_are_rejected_and_change_nothing() {
    let stack = Stack::start().await;
    let order = stack.place("PROD-001", 2).await.json();
    let newer = "ALTER DOMAIN reservation_state DROP CONSTRAINT reservation_state_known;
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
    let newer = "ALTER DOMAIN payment_status DROP CONSTRAINT payment_status_known;
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
            line.contains("\"step\":\"refund\"") && line.contains("rejected the call")
        };
        stack.order.lines().iter().any(rejected).then_some(())
    })
    .await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
}
