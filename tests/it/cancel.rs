//! `POST /orders/{id}/cancel`: the order ends, and keeps neither stock nor money, whatever its
//! request, recovery, inventory and payment do.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{LONG_STEPS, Response, Stack, eventually};

const ORDER: &str = r#"{"product_id":"PROD-001","quantity":2}"#;
/// The default timeout of a saga step. A call that is not delayed takes less, also on a loaded
/// machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// For the statements of a request, on a loaded machine.
const MARGIN: Duration = Duration::from_millis(1500);

async fn place_with_key(stack: &Stack, key: &str) -> Response {
    let key = [("idempotency-key", key)];
    let placed = stack
        .order
        .request(Method::POST, "/orders", &key, Some(ORDER));
    placed.await
}

/// Places an order while this path answers 500. The rule stays.
async fn place_under_errors(stack: &Stack, path: &str, status: &str) -> (String, u64) {
    let service = if path == "/payments" {
        &stack.payment
    } else {
        &stack.inventory
    };
    let rule = json!({"kind": "error", "status": 500, "route": path, "method": "POST"});
    let rule = service.add_gremlin_rule(rule).await;
    let placed = stack.place("PROD-001", 2).await;
    assert_eq!(placed.json()["status"], status, "{placed:?}");
    (placed.order_id(), rule)
}

#[track_caller]
fn assert_cancelled(response: &Response) -> Value {
    let order = response.json();
    assert_eq!(
        (
            response.status.as_u16(),
            &order["status"],
            &order["failure_reason"],
            &order["message"],
        ),
        (
            200,
            &json!("FAILED"),
            &json!("cancelled"),
            &json!("Order cancelled")
        ),
        "{response:?}"
    );
    order
}

/// Checks that the order is cancelled and stays so, although late messages of its request arrive.
async fn assert_stays_cancelled(stack: &Stack, id: &str) {
    for epoch in [1, 2] {
        let late = json!({"product_id": "PROD-001", "quantity": 2, "order_id": id, "epoch": epoch});
        let late = stack.inventory.post("/inventory/reserve", &late).await;
        late.assert_problem(409, "stale-epoch");
    }
    let charge = json!({"order_id": id});
    assert_eq!(stack.payment.post("/payments", &charge).await.status, 402);
    let order = stack.order.order(id).await;
    assert_eq!(
        (
            &order["status"],
            &order["failure_reason"],
            &order["settled"],
            &order["owes"]
        ),
        (
            &json!("FAILED"),
            &json!("cancelled"),
            &json!(true),
            &json!([])
        ),
        "{order}"
    );
    let reasons = stack.reasons(id).await;
    let cancelled = reasons.iter().position(|reason| reason == "cancelled");
    let after = &reasons[cancelled.unwrap()..];
    assert!(!after.contains(&"confirmed".to_owned()), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_in_each_status_and_keeps_neither_stock_nor_money() {
    let stack = Stack::start().await;
    let mut ids = Vec::new();
    for (status, reservation, payment) in [
        ("PENDING", "RELEASED", "VOIDED"),
        ("PENDING_INVENTORY", "RELEASED", "VOIDED"),
        ("PENDING_PAYMENT", "RELEASED", "VOIDED"),
        ("CONFIRMED", "RELEASED", "REFUNDED"),
    ] {
        let (id, rule) = match status {
            "PENDING" => (stack.store_pending().await, None),
            "CONFIRMED" => (stack.confirmed("PROD-001", 2).await, None),
            "PENDING_INVENTORY" => {
                let (id, rule) = place_under_errors(&stack, "/inventory/reserve", status).await;
                (id, Some((&stack.inventory, rule)))
            }
            _ => {
                let (id, rule) = place_under_errors(&stack, "/payments", status).await;
                (id, Some((&stack.payment, rule)))
            }
        };
        let cancelled = stack.order.act("cancel", &id).await;
        let order = assert_cancelled(&cancelled);
        assert_eq!(
            (&order["settled"], &order["owes"]),
            (&json!(true), &json!([])),
            "{status}: {order}"
        );
        if let Some((service, rule)) = rule {
            service.delete(&format!("/gremlin/rules/{rule}")).await;
        }
        assert_eq!(
            stack.holdings(&id).await,
            format!("{reservation} {payment}"),
            "{status}"
        );
        let row = stack.row(&id).await;
        let again = stack.order.act("cancel", &id).await;
        assert_eq!(assert_cancelled(&again), order, "{status}");
        assert_eq!(stack.row(&id).await, row, "{status}: nothing is changed");
        ids.push(id);
    }
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    for id in &ids {
        assert_stays_cancelled(&stack, id).await;
    }
    let listed = stack.order.get("/orders?status=FAILED").await.json();
    assert_eq!(listed["orders"].as_array().unwrap().len(), ids.len());
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_failed_or_leaves_or_does_not_exist_is_not_cancelled_and_stays_as_it_is() {
    let mut stack = Stack::start().await;
    let unknown_product = stack.place("PROD-404", 1).await.order_id();
    let too_many = stack.place("PROD-003", 1000).await.order_id();
    stack
        .restart_payment(&[("PAYMENT_SUCCESS_RATE", "0")])
        .await;
    let declined = stack.declined("PROD-001").await;
    stack.restart_payment(&[]).await;
    let fulfilled = stack.confirmed("PROD-001", 2).await;
    assert_eq!(stack.order.act("fulfil", &fulfilled).await.status, 200);
    stack.wait_until_settled().await;
    for (id, code) in [
        (&unknown_product, "already-failed"),
        (&too_many, "already-failed"),
        (&declined, "already-failed"),
        (&fulfilled, "already-fulfilled"),
    ] {
        let row = stack.row(id).await;
        let refused = stack.order.act("cancel", id).await;
        let problem = refused.assert_problem(409, code);
        assert_eq!(problem["order_id"], json!(id));
        assert_eq!(stack.row(id).await, row);
    }
    let rule = json!({"kind": "error", "route": "/inventory/ship"});
    let rule = stack.inventory.add_gremlin_rule(rule).await;
    let leaving = stack.confirmed("PROD-001", 1).await;
    assert_eq!(stack.order.act("fulfil", &leaving).await.status, 202);
    let refused = stack.order.act("cancel", &leaving).await;
    refused.assert_problem(409, "already-fulfilled");
    stack
        .inventory
        .delete(&format!("/gremlin/rules/{rule}"))
        .await;
    stack.wait_until_settled().await;
    assert_eq!(stack.holdings(&leaving).await, "SHIPPED SUCCESS");

    let orders = "SELECT count(*) FROM orders";
    let stored = stack.database.count(orders).await;
    let unknown = Uuid::new_v4().to_string();
    let refused = stack.order.act("cancel", &unknown).await;
    refused.assert_problem(404, "not-found");
    for malformed in ["x", "0", "%00", "1e1"] {
        let shown = stack.order.get(&format!("/orders/{malformed}")).await;
        let refused = stack.order.act("cancel", malformed).await;
        let code = shown.json()["code"].as_str().unwrap().to_owned();
        refused.assert_problem(shown.status.as_u16(), &code);
    }
    assert_eq!(stack.database.count(orders).await, stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_answered_in_time_while_inventory_or_payment_is_away() {
    let mut stack = Stack::start().await;
    for (fault, owes, holdings) in [
        ("inventory is dead", json!(["release"]), "HELD REFUNDED"),
        ("inventory hangs", json!(["release"]), "HELD REFUNDED"),
        ("payment is dead", json!(["refund"]), "RELEASED SUCCESS"),
        ("payment hangs", json!(["refund"]), "RELEASED SUCCESS"),
        ("both hang", json!(["release", "refund"]), "HELD SUCCESS"),
    ] {
        let id = stack.confirmed("PROD-001", 2).await;
        match fault {
            "inventory is dead" => drop(stack.inventory.process.kill().await.unwrap()),
            "payment is dead" => drop(stack.payment.process.kill().await.unwrap()),
            "inventory hangs" => stack.inventory.set_latency(true, 30_000).await,
            "payment hangs" => stack.payment.set_latency(true, 30_000).await,
            _ => {
                stack.inventory.set_latency(true, 30_000).await;
                stack.payment.set_latency(true, 30_000).await;
            }
        }
        let cancelled = stack.order.act("cancel", &id).await;
        let order = assert_cancelled(&cancelled);
        assert_eq!(
            (&order["settled"], &order["owes"]),
            (&json!(false), &owes),
            "{fault}: {order}"
        );
        assert!(
            cancelled.took < STEP_TIMEOUT * 2 + MARGIN,
            "{fault}: {:?}",
            cancelled.took
        );
        assert!(order["owed_since"].is_string() && order["next_attempt_at"].is_string());
        assert_eq!(stack.holdings(&id).await, holdings, "{fault}");
        let again = stack.order.act("cancel", &id).await;
        assert!(
            again.took < MARGIN,
            "{fault}: a repetition only reads: {again:?}"
        );
        assert_eq!(assert_cancelled(&again)["settled"], false);
        stack.restart_ended().await;
        stack.inventory.set_latency(false, 0).await;
        stack.payment.set_latency(false, 0).await;
        stack.wait_until_settled().await;
        assert_eq!(stack.holdings(&id).await, "RELEASED REFUNDED", "{fault}");
    }
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_settled_at_once_while_inventory_and_payment_are_slow() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 2).await;
    stack.inventory.set_latency(true, 400).await;
    stack.payment.set_latency(true, 400).await;
    let cancelled = stack.order.act("cancel", &id).await;
    assert_eq!(assert_cancelled(&cancelled)["settled"], true);
    assert!(cancelled.took < STEP_TIMEOUT * 2 + MARGIN);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellations_that_cannot_be_settled_open_no_breaker() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let ids = join_all((0..30).map(|_| stack.confirmed("PROD-001", 1))).await;
    let rules = [
        (&stack.inventory, "/inventory/release"),
        (&stack.payment, "/payments/void"),
    ];
    for (service, route) in rules {
        service
            .add_gremlin_rule(json!({"kind": "error", "status": 500, "route": route}))
            .await;
    }
    // At a time, no more than the service has connections to its database.
    for ids in ids.chunks(6) {
        for cancelled in join_all(ids.iter().map(|id| stack.order.act("cancel", id))).await {
            assert_eq!(
                assert_cancelled(&cancelled)["owes"],
                json!(["release", "refund"])
            );
        }
    }
    let placed = join_all((0..10).map(|_| stack.place("PROD-002", 1))).await;
    assert!(
        placed.iter().all(|placed| placed.status == 201),
        "{placed:?}"
    );
    let changed = stack.order.lines();
    let changed = changed.iter().find(|line| line.contains("breaker changed"));
    assert_eq!(changed, None);
    for (service, _) in rules {
        service.delete("/gremlin/rules").await;
    }
    stack.wait_until_settled().await;
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    stack.assert_clean_audit().await;
}

/// Whether a request waits in the call that the gremlin's rule delays, or at the failpoint.
async fn has_reached(stack: &Stack, moment: &str, rule: u64) -> bool {
    let service = match moment {
        "reserve" | "release" => &stack.inventory,
        "charge" => &stack.payment,
        point => {
            let lines = stack.order.lines();
            let is_reached =
                |line: &String| line.contains("failpoint reached") && line.contains(point);
            return lines.iter().any(is_reached);
        }
    };
    service.gremlin_rule(rule).await["fired"] == 1
}

/// The request waits in a call, or between a call and the transition that follows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_cancellation_overtakes_is_answered_409_and_so_is_its_key() {
    let mut stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "5000")]).await;
    for (n, moment) in [
        "reserve",
        "charge",
        "release",
        "order.placed",
        "order.reserved",
        "order.charged",
    ]
    .into_iter()
    .enumerate()
    {
        let rule = |route| {
            json!({"kind": "latency", "delay_ms": 3000, "route": route, "method": "POST",
                "max_fires": 1})
        };
        let rule = match moment {
            "reserve" => {
                let rule = rule("/inventory/reserve");
                stack.inventory.add_gremlin_rule(rule).await
            }
            "charge" => stack.payment.add_gremlin_rule(rule("/payments")).await,
            // The charge fails at once, and then the release does not return.
            "release" => {
                let error = json!({"kind": "error", "route": "/payments", "max_fires": 1});
                stack.payment.add_gremlin_rule(error).await;
                let hang = json!({"kind": "hang", "route": "/inventory/release", "max_fires": 1});
                stack.inventory.add_gremlin_rule(hang).await
            }
            point => {
                let plan = format!("{point}=stall:3000");
                stack.restart_order(&[("VALERIX_FAILPOINT", &plan)]).await;
                0
            }
        };
        let key = format!("overtaken-{n}");
        let cancel = async {
            let pending = if moment == "release" {
                "SELECT id::text FROM orders WHERE status = 'PENDING_PAYMENT'"
            } else {
                "SELECT id::text FROM orders WHERE status = 'PENDING'"
            };
            let id: String = eventually("the order to be stored", async || {
                let rows = stack.database.query(pending).await;
                rows.first().map(|row| row.get(0))
            })
            .await;
            eventually("the request to reach its moment", async || {
                has_reached(&stack, moment, rule).await.then_some(())
            })
            .await;
            assert_cancelled(&stack.order.act("cancel", &id).await);
            id
        };
        let (placed, id) = tokio::join!(place_with_key(&stack, &key), cancel);
        let problem = placed.assert_problem(409, "cancelled");
        assert_eq!(problem["order_id"], json!(id), "{moment}");
        let replayed = place_with_key(&stack, &key).await;
        let problem = replayed.assert_problem(409, "cancelled");
        assert_eq!(problem["order_id"], json!(id), "{moment}");
        assert_eq!(replayed.header("idempotency-replayed"), "true");
        stack.wait_until_settled().await;
        let reasons = stack.reasons(&id).await;
        assert!(
            !reasons.contains(&"confirmed".to_owned()),
            "{moment}: {reasons:?}"
        );
        assert_eq!(stack.stock("PROD-001").await, (100, 0), "{moment}");
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_repeats_a_201_whose_order_recovery_has_confirmed() {
    let mut stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "1000")]).await;
    // Much longer than the lease of the request, which is two steps and 2 s.
    let stall = [("VALERIX_FAILPOINT", "order.charged=stall:12000")];
    stack.restart_order(&stall).await;
    let replica = stack.start_order_replica().await;
    let placed = place_with_key(&stack, "k").await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let id = placed.order_id();
    let epoch = format!("SELECT epoch::bigint FROM orders WHERE id = '{id}'");
    assert!(stack.database.count(&epoch).await > 1);
    assert_cancelled(&replica.act("cancel", &id).await);
    let again = place_with_key(&stack, "k").await;
    assert_eq!((again.status, again.order_id()), (placed.status, id));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["status"], "CONFIRMED");
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_repeats_a_201_as_it_was_and_after_a_202_tells_that_the_order_is_cancelled() {
    let stack = Stack::start().await;
    let confirmed = place_with_key(&stack, "confirmed").await;
    assert_eq!(confirmed.status, 201);
    let fulfilled = place_with_key(&stack, "fulfilled").await;
    let cancelled = stack.order.act("cancel", &confirmed.order_id()).await;
    assert_cancelled(&cancelled);
    let left = stack.order.act("fulfil", &fulfilled.order_id()).await;
    assert_eq!(left.status, 200, "{left:?}");
    for (key, first) in [("confirmed", &confirmed), ("fulfilled", &fulfilled)] {
        let again = place_with_key(&stack, key).await;
        assert_eq!(
            (again.status, again.json()),
            (first.status, first.json()),
            "{key}"
        );
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("idempotency-replayed"), "true");
    }

    let rule = json!({"kind": "error", "status": 500, "route": "/inventory/reserve"});
    let rule = stack.inventory.add_gremlin_rule(rule).await;
    let pending = place_with_key(&stack, "pending").await;
    assert_eq!(pending.status, 202);
    assert_cancelled(&stack.order.act("cancel", &pending.order_id()).await);
    let again = place_with_key(&stack, "pending").await;
    let problem = again.assert_problem(409, "cancelled");
    assert_eq!(problem["order_id"], pending.json()["id"]);
    stack
        .inventory
        .delete(&format!("/gremlin/rules/{rule}"))
        .await;
    let refused = place_with_key(&stack, "pending").await;
    refused.assert_problem(409, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_cancellations_at_once_cancel_an_order_once() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let replicas = [&stack.order, &second];
    let id = stack.confirmed("PROD-001", 2).await;
    let cancellations = (0..10).map(|n| replicas[n % 2].act("cancel", &id));
    for cancelled in join_all(cancellations).await {
        assert_cancelled(&cancelled);
    }
    stack.wait_until_settled().await;
    assert_eq!(
        stack.reasons(&id).await,
        [
            "placed",
            "confirmed",
            "cancelled",
            "stock-returned",
            "payment-refunded"
        ]
    );
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    stack.assert_clean_audit().await;
}
