//! `POST /orders/{id}/retry`: what an order waits for or owes is tried now.

use serde_json::json;
use uuid::Uuid;

use crate::harness::Stack;

/// Lets recovery leave the order alone for an hour, as after a long backoff.
async fn postpone(stack: &Stack, id: &str) {
    let postpone = format!(
        "UPDATE orders SET next_attempt_at = now() + interval '1 hour', lease_until = NULL
         WHERE id = '{id}'"
    );
    stack.database.execute(&postpone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_obligation_is_met_now_once_its_cause_is_removed() {
    let stack = Stack::start().await;
    for (service, route, action, status, owed) in [
        (&stack.payment, "/payments/void", "cancel", 200, "refund"),
        (
            &stack.inventory,
            "/inventory/release",
            "cancel",
            200,
            "release",
        ),
        (
            &stack.inventory,
            "/inventory/ship",
            "fulfil",
            202,
            "shipment",
        ),
    ] {
        let id = stack.confirmed("PROD-001", 1).await;
        let rule = json!({"kind": "error", "status": 500, "route": route});
        let rule = service.add_gremlin_rule(rule).await;
        let acted = stack.order.act(action, &id).await;
        assert_eq!(
            (acted.status.as_u16(), &acted.json()["owes"]),
            (status, &json!([owed])),
            "{acted:?}"
        );
        postpone(&stack, &id).await;
        let failed = stack.order.act("retry", &id).await;
        let order = failed.json();
        assert_eq!(
            (
                failed.status.as_u16(),
                &order["owes"],
                &order["last_failure"]["outcome"]
            ),
            (200, &json!([owed]), &json!("failed")),
            "{failed:?}"
        );
        service.delete(&format!("/gremlin/rules/{rule}")).await;
        postpone(&stack, &id).await;
        let met = stack.order.act("retry", &id).await;
        let order = met.json();
        assert_eq!(
            (met.status.as_u16(), &order["settled"], &order["owes"]),
            (200, &json!(true), &json!([])),
            "{met:?}"
        );
        assert_eq!(order["last_failure"], json!(null));
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_order_and_one_whose_attempt_is_in_progress_are_left_alone() {
    let stack = Stack::start().await;
    let confirmed = stack.confirmed("PROD-001", 1).await;
    let failed = stack.place("PROD-404", 1).await.order_id();
    stack.wait_until_settled().await;
    let in_progress = stack.store_pending().await;
    for id in [&confirmed, &failed, &in_progress] {
        let row = stack.row(id).await;
        let retried = stack.order.act("retry", id).await;
        assert_eq!(retried.status, 200, "{retried:?}");
        let mut shown = stack.order.order(id).await;
        shown.as_object_mut().unwrap().remove("events");
        assert_eq!(retried.json(), shown);
        assert_eq!(stack.row(id).await, row);
    }
    let unknown = stack.order.act("retry", &Uuid::new_v4().to_string()).await;
    unknown.assert_problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_order_is_confirmed_now_and_an_expired_one_fails_now() {
    let stack = Stack::start().await;
    let rule = json!({"kind": "error", "status": 500, "route": "/inventory/reserve"});
    let rule = stack.inventory.add_gremlin_rule(rule).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let pending = stack.place("PROD-001", 1).await;
        assert_eq!(pending.status, 202);
        ids.push(pending.order_id());
        postpone(&stack, &pending.order_id()).await;
    }
    stack
        .inventory
        .delete(&format!("/gremlin/rules/{rule}"))
        .await;
    let retried = stack.order.act("retry", &ids[0]).await;
    assert_eq!(
        (retried.status.as_u16(), &retried.json()["status"]),
        (200, &json!("CONFIRMED"))
    );
    let expire = format!(
        "UPDATE orders SET created_at = created_at - interval '2 hours' WHERE id = '{}'",
        ids[1]
    );
    stack.database.execute(&expire).await;
    let retried = stack.order.act("retry", &ids[1]).await;
    let order = retried.json();
    assert_eq!(
        (
            retried.status.as_u16(),
            &order["failure_reason"],
            &order["settled"]
        ),
        (200, &json!("expired"), &json!(true)),
        "{order}"
    );
    assert_eq!(stack.stock("PROD-001").await, (99, 1));
    stack.assert_clean_audit().await;
}
