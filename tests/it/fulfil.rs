//! `POST /orders/{id}/fulfil`: the goods of a confirmed order leave once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{LONG_STEPS, Response, Stack};

/// Far less than a service that hangs takes, and far more than the timeout of a step.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(10);

/// The figures of `GET /inventory/{product_id}`: stock, reserved and shipped.
async fn figures(stack: &Stack, product_id: &str) -> [i64; 3] {
    let path = format!("/inventory/{product_id}");
    let product = stack.inventory.get(&path).await.json();
    ["stock", "reserved", "shipped"].map(|figure| product[figure].as_i64().unwrap())
}

#[track_caller]
fn assert_fulfilled(response: &Response) -> Value {
    let order = response.json();
    assert_eq!(
        (
            response.status.as_u16(),
            &order["status"],
            &order["message"],
            &order["settled"],
            &order["owes"]
        ),
        (
            200,
            &json!("CONFIRMED"),
            &json!("Order fulfilled"),
            &json!(true),
            &json!([])
        ),
        "{response:?}"
    );
    assert!(order["fulfilled_at"].is_string(), "{order}");
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn the_goods_of_a_confirmed_order_leave_once() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 2).await;
    assert_eq!(figures(&stack, "PROD-001").await, [98, 2, 0]);
    let order = assert_fulfilled(&stack.order.act("fulfil", &id).await);
    let row = stack.row(&id).await;
    for _ in 0..2 {
        let again = stack.order.act("fulfil", &id).await;
        assert_eq!(assert_fulfilled(&again), order);
    }
    let refused = stack.order.act("cancel", &id).await;
    let problem = refused.assert_problem(409, "already-fulfilled");
    assert_eq!(problem["order_id"], json!(id));
    let retried = stack.order.act("retry", &id).await;
    assert_eq!(assert_fulfilled(&retried), order);
    assert_eq!(stack.row(&id).await, row, "nothing is changed");
    assert_eq!(figures(&stack, "PROD-001").await, [98, 0, 2]);
    assert_eq!(stack.holdings(&id).await, "SHIPPED SUCCESS");
    assert_eq!(
        stack.reasons(&id).await,
        ["placed", "confirmed", "fulfilment-requested", "fulfilled"]
    );
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_confirmed_is_not_fulfilled() {
    let stack = Stack::start().await;
    let failed = stack.place("PROD-404", 1).await.order_id();
    let cancelled = stack.confirmed("PROD-001", 1).await;
    assert_eq!(stack.order.act("cancel", &cancelled).await.status, 200);
    let pending = stack.store_pending().await;
    for id in [&failed, &cancelled, &pending] {
        let row = stack.row(id).await;
        let refused = stack.order.act("fulfil", id).await;
        let problem = refused.assert_problem(409, "not-confirmed");
        assert_eq!(problem["order_id"], json!(id));
        assert_eq!(stack.row(id).await, row);
    }
    let unknown = stack.order.act("fulfil", &Uuid::new_v4().to_string()).await;
    unknown.assert_problem(404, "not-found");
    assert_eq!(figures(&stack, "PROD-001").await, [100, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_ships_the_goods_that_could_not_leave_because_inventory_was_away() {
    let mut stack = Stack::start().await;
    for fault in ["dead", "hangs", "fails"] {
        let id = stack.confirmed("PROD-001", 2).await;
        match fault {
            "dead" => drop(stack.inventory.process.kill().await.unwrap()),
            "hangs" => stack.inventory.set_latency(true, 30_000).await,
            _ => {
                let rule = json!({"kind": "error", "status": 503, "route": "/inventory/ship"});
                stack.inventory.add_gremlin_rule(rule).await;
            }
        }
        for attempt in ["first", "second"] {
            let accepted = stack.order.act("fulfil", &id).await;
            let order = accepted.json();
            assert_eq!(
                (
                    accepted.status.as_u16(),
                    &order["status"],
                    &order["settled"],
                    &order["owes"],
                    &order["fulfilled_at"]
                ),
                (
                    202,
                    &json!("CONFIRMED"),
                    &json!(false),
                    &json!(["shipment"]),
                    &json!(null)
                ),
                "{fault}, {attempt}: {accepted:?}"
            );
            assert_eq!(accepted.header("location"), format!("/orders/{id}"));
            assert!(accepted.header("retry-after").parse::<u32>().is_ok());
            assert!(
                accepted.took < MAX_RESPONSE_TIME,
                "{fault}: {:?}",
                accepted.took
            );
        }
        let refused = stack.order.act("cancel", &id).await;
        refused.assert_problem(409, "already-fulfilled");
        stack.restart_ended().await;
        stack.inventory.set_latency(false, 0).await;
        stack.inventory.delete("/gremlin/rules").await;
        stack.wait_until_settled().await;
        assert_fulfilled(&stack.order.act("fulfil", &id).await);
    }
    assert_eq!(figures(&stack, "PROD-001").await, [94, 0, 6]);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_fulfilments_at_once_ship_the_goods_once() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let replicas = [&stack.order, &second];
    let id = stack.confirmed("PROD-001", 2).await;
    let fulfilments = (0..10).map(|n| replicas[n % 2].act("fulfil", &id));
    let responses = join_all(fulfilments).await;
    let is_done = |response: &&Response| response.status == 200;
    assert!(responses.iter().any(|response| is_done(&response)));
    for response in responses {
        // A request beside the one that ships answers that the shipment is owed.
        if response.status != 202 {
            assert_fulfilled(&response);
        }
    }
    stack.wait_until_settled().await;
    assert_eq!(figures(&stack, "PROD-001").await, [98, 0, 2]);
    assert_eq!(
        stack.reasons(&id).await,
        ["placed", "confirmed", "fulfilment-requested", "fulfilled"]
    );
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cancellation_and_a_fulfilment_at_once_exactly_one_wins() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let second = stack.start_order_replica().await;
    let replicas = [&stack.order, &second];
    let mut shipped = 0;
    for round in 0..60 {
        let id = stack.confirmed("PROD-001", 1).await;
        let cancel = replicas[round % 2].act("cancel", &id);
        let fulfil = replicas[(round / 2) % 2].act("fulfil", &id);
        let (cancelled, fulfilled) = if round % 3 == 0 {
            tokio::join!(cancel, fulfil)
        } else {
            let (fulfilled, cancelled) = tokio::join!(fulfil, cancel);
            (cancelled, fulfilled)
        };
        if cancelled.status == 200 {
            fulfilled.assert_problem(409, "not-confirmed");
            assert_eq!(stack.holdings(&id).await, "RELEASED REFUNDED");
        } else {
            cancelled.assert_problem(409, "already-fulfilled");
            assert_fulfilled(&fulfilled);
            assert_eq!(stack.holdings(&id).await, "SHIPPED SUCCESS");
            shipped += 1;
        }
    }
    assert_eq!(
        figures(&stack, "PROD-001").await,
        [100 - shipped, 0, shipped]
    );
    stack.assert_clean_audit().await;
}
