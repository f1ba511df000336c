//! The steps of an order's events: the outcome and the duration of each call of an attempt, and the
//! change that followed. The reasons and outcomes are those that really happened.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{LONG_STEPS, Service, Stack, eventually};

/// The default timeout of a saga step.
const STEP_TIMEOUT_MS: f64 = 2000.0;

async fn add_rule(service: &Service, kind: &str, route: &str) {
    let rule = json!({"kind": kind, "route": route, "method": "POST", "max_fires": 1});
    service.add_gremlin_rule(rule).await;
}

/// The event that the request itself stored with this reason.
#[track_caller]
fn event<'a>(order: &'a Value, reason: &str) -> &'a Value {
    let mut events = order["events"].as_array().unwrap().iter();
    let found = events.find(|event| event["reason"] == reason && event["attempt"] == 1);
    found.unwrap_or_else(|| panic!("no event {reason}: {order:#}"))
}

/// Step, outcome and duration of each step of an event. Checks that the steps follow each other,
/// before the event.
#[track_caller]
fn steps(event: &Value) -> Vec<(String, String, f64)> {
    let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let mut earliest = DateTime::<Utc>::default();
    let mut found = Vec::new();
    for step in event["steps"].as_array().unwrap() {
        let duration = step["duration_ms"].as_f64().unwrap();
        let started = time(&step["started_at"]);
        // Both clocks are those of this machine. They are read in different processes.
        let tolerance = chrono::TimeDelta::milliseconds(5);
        assert!(started + tolerance >= earliest, "{event:#}");
        earliest = started + Duration::from_secs_f64(duration / 1000.0);
        assert!(time(&event["at"]) + tolerance >= earliest, "{event:#}");
        let text = |name: &str| step[name].as_str().unwrap().to_owned();
        found.push((text("step"), text("outcome"), duration));
    }
    found
}

/// The steps of an event without their durations, in this form: `reserve ok, charge ok`.
#[track_caller]
fn named(event: &Value) -> String {
    let steps = steps(event);
    let steps = steps
        .iter()
        .map(|(step, outcome, _)| format!("{step} {outcome}"));
    steps.collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_and_the_reason_say_how_inventory_failed() {
    let mut stack = Stack::start().await;
    for (fault, outcome, reason) in [
        ("hang", "timed-out", "inventory-timed-out"),
        ("drop", "connection-lost", "inventory-connection-lost"),
        ("vanish", "connection-lost", "inventory-connection-lost"),
        ("error", "failed", "inventory-failed"),
        ("dead", "refused", "inventory-connection-refused"),
    ] {
        if fault == "dead" {
            stack.inventory.process.kill().await.unwrap();
        } else {
            add_rule(&stack.inventory, fault, "/inventory/reserve").await;
        }
        let placed = stack.place("PROD-001", 1).await;
        assert_eq!(placed.json()["status"], "PENDING_INVENTORY", "{placed:?}");
        let order = stack.order.order(&placed.order_id()).await;
        let failed = event(&order, reason);
        assert_eq!(named(failed), format!("reserve {outcome}"), "{fault}");
        let duration = steps(failed)[0].2;
        // A service that does not answer is called until the step times out, and no other is.
        assert_eq!(
            duration >= STEP_TIMEOUT_MS - 5.0,
            fault == "hang",
            "{fault}: {duration} ms"
        );
        assert!(
            duration <= placed.took.as_secs_f64() * 1000.0,
            "{fault}: {duration} ms of {:?}",
            placed.took
        );
        stack.restart_ended().await;
        stack.wait_until_settled().await;
        // The attempt that confirmed the order has all its calls.
        let order = stack.order.order(&placed.order_id()).await;
        let last = order["events"].as_array().unwrap().last().unwrap();
        assert_eq!(last["reason"], "confirmed", "{fault}: {order:#}");
        assert_eq!(named(last), "reserve ok, charge ok", "{fault}");
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_and_the_reason_say_how_payment_failed() {
    let mut stack = Stack::start().await;
    for (fault, outcome, reason) in [
        ("hang", "timed-out", "payment-timed-out"),
        ("drop", "connection-lost", "payment-connection-lost"),
        ("vanish", "connection-lost", "payment-connection-lost"),
        ("error", "failed", "payment-failed"),
        ("dead", "refused", "payment-connection-refused"),
    ] {
        if fault == "dead" {
            stack.payment.process.kill().await.unwrap();
        } else {
            add_rule(&stack.payment, fault, "/payments").await;
        }
        let placed = stack.place("PROD-001", 1).await;
        assert_eq!(placed.json()["status"], "PENDING_PAYMENT", "{placed:?}");
        let order = stack.order.order(&placed.order_id()).await;
        let failed = event(&order, reason);
        assert_eq!(
            named(failed),
            format!("reserve ok, charge {outcome}"),
            "{fault}"
        );
        let returned = event(&order, "stock-returned");
        assert_eq!(named(returned), "release ok", "{fault}");
        stack.restart_ended().await;
        stack.wait_until_settled().await;
        let order = stack.order.order(&placed.order_id()).await;
        let last = order["events"].as_array().unwrap().last().unwrap();
        assert_eq!(last["reason"], "confirmed", "{fault}: {order:#}");
        assert_eq!(
            named(last),
            "query-payment ok, reserve ok, charge ok",
            "{fault}"
        );
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_shows_in_the_duration_of_its_step_alone() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    stack.inventory.set_latency(true, 3000).await;
    let placed = stack.place("PROD-001", 1).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    stack.inventory.set_latency(false, 0).await;
    let order = stack.order.order(&placed.order_id()).await;
    assert_eq!(named(&order["events"][0]), "", "placing makes no call");
    let found = steps(event(&order, "confirmed"));
    let [reserve, charge] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&*reserve.0, &*charge.0), ("reserve", "charge"));
    assert!(reserve.2 >= 3000.0, "{found:?}");
    assert!(charge.2 < 3000.0, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_returned_only_where_units_were_held() {
    let mut stack = Stack::start().await;
    for (product, reason, code) in [
        ("PROD-404", "unknown-product", "unknown-product"),
        ("PROD-003", "insufficient-stock", "insufficient-stock"),
    ] {
        let quantity = if product == "PROD-003" { 26 } else { 1 };
        let placed = stack.place(product, quantity).await;
        let order = stack.order.order(&placed.order_id()).await;
        let failed = event(&order, reason);
        assert_eq!(named(failed), "reserve rejected");
        assert_eq!(failed["steps"][0]["detail"], code);
        assert_eq!(named(event(&order, "no-stock-held")), "release ok");
    }
    stack
        .restart_payment(&[("PAYMENT_SUCCESS_RATE", "0")])
        .await;
    let declined = stack.declined("PROD-001").await;
    let order = stack.order.order(&declined).await;
    let failed = event(&order, "payment-declined");
    assert_eq!(named(failed), "reserve ok, charge rejected");
    assert_eq!(named(event(&order, "stock-returned")), "release ok");
    stack.restart_payment(&[]).await;

    // A cancelled order that was never reserved, and one whose stock is there.
    let rule = json!({"kind": "error", "status": 500, "route": "/inventory/reserve"});
    let rule = stack.inventory.add_gremlin_rule(rule).await;
    let never_reserved = stack.place("PROD-001", 1).await.order_id();
    let cancelled = stack.order.act("cancel", &never_reserved).await;
    assert_eq!(cancelled.json()["settled"], true, "{cancelled:?}");
    stack
        .inventory
        .delete(&format!("/gremlin/rules/{rule}"))
        .await;
    let reserved = stack.confirmed("PROD-001", 1).await;
    stack.order.act("cancel", &reserved).await;
    for (id, expected) in [
        (&never_reserved, ["no-stock-held", "charge-forbidden"]),
        (&reserved, ["stock-returned", "payment-refunded"]),
    ] {
        let reasons = stack.reasons(id).await;
        assert_eq!(reasons[reasons.len() - 2..], expected, "{reasons:?}");
        let order = stack.order.order(id).await;
        let events = order["events"].as_array().unwrap();
        let last: Vec<_> = events[events.len() - 3..].iter().map(named).collect();
        assert_eq!(last, ["", "release ok", "refund ok"]);
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_an_open_breaker_prevents_is_shown_as_not_called() {
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "300")]).await;
    stack.inventory.set_latency(true, 30_000).await;
    let not_called = "SELECT order_id::text FROM order_events
        WHERE reason = 'inventory-not-called' AND epoch = 1 LIMIT 1";
    let placed: String = eventually("the breaker to open", async || {
        join_all((0..6).map(|_| stack.place("PROD-001", 1))).await;
        let rows = stack.database.query(not_called).await;
        rows.first().map(|row| row.get(0))
    })
    .await;
    let order = stack.order.order(&placed).await;
    let failed = event(&order, "inventory-not-called");
    assert_eq!(named(failed), "reserve not-called");
    let step = &failed["steps"][0];
    assert!(
        step["detail"].as_str().unwrap().contains("breaker"),
        "{step}"
    );
    // Less than the timeout of a call.
    assert!(step["duration_ms"].as_f64().unwrap() < 300.0, "{step}");
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_owes_shows_the_call_that_failed_last() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 1).await;
    let rule = json!({"kind": "error", "status": 500, "route": "/inventory/release"});
    stack.inventory.add_gremlin_rule(rule).await;
    let cancelled = stack.order.act("cancel", &id).await.json();
    let is_release = |failure: &Value| {
        let parts = [&failure["step"], &failure["outcome"], &failure["detail"]];
        parts == ["release", "failed", "injected-fault"]
    };
    assert_eq!(cancelled["owes"], json!(["release"]));
    assert!(is_release(&cancelled["last_failure"]), "{cancelled}");
    let order = stack.order.order(&id).await;
    // The refund was stored with both calls of the attempt.
    assert_eq!(
        named(order["events"].as_array().unwrap().last().unwrap()),
        "release failed, refund ok"
    );
    // An attempt of recovery that stores nothing else stores its failure.
    let before = cancelled["last_failure"]["started_at"].clone();
    eventually("another attempt to fail", async || {
        let failure = stack.order.order(&id).await["last_failure"].clone();
        (is_release(&failure) && failure["started_at"] != before).then_some(())
    })
    .await;
    stack.inventory.delete("/gremlin/rules").await;
    stack.wait_until_settled().await;
    let settled = stack.order.order(&id).await;
    assert_eq!(settled["last_failure"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_owe_something_are_found_by_every_filter() {
    let stack = Stack::start().await;
    let before = Utc::now();
    let settled = stack.confirmed("PROD-001", 1).await;
    let refund = stack.confirmed("PROD-001", 1).await;
    let shipment = stack.confirmed("PROD-002", 1).await;
    let after = Utc::now();
    let rule = |route| json!({"kind": "error", "status": 500, "route": route});
    let rules = [
        (&stack.payment, rule("/payments/void")),
        (&stack.inventory, rule("/inventory/ship")),
    ];
    for (service, rule) in rules {
        service.add_gremlin_rule(rule).await;
    }
    assert_eq!(stack.order.act("cancel", &refund).await.status, 200);
    assert_eq!(stack.order.act("fulfil", &shipment).await.status, 202);
    let time = |at: DateTime<Utc>| at.to_rfc3339().replace("+00:00", "Z");
    let (before, after) = (time(before), time(after));
    for (query, found) in [
        ("settled=false", &[&shipment, &refund][..]),
        ("settled=true", &[&settled]),
        ("status=FAILED&settled=false", &[&refund]),
        ("status=FAILED&settled=true", &[]),
        ("status=CONFIRMED&settled=false", &[&shipment]),
        ("status=CONFIRMED&settled=true", &[&settled]),
        ("status=PENDING&settled=false", &[]),
        ("settled=false&product_id=PROD-002", &[&shipment]),
        ("settled=false&product_id=PROD-003", &[]),
        (
            &format!("created_after={before}&created_before={after}"),
            &[&shipment, &refund, &settled],
        ),
        (
            &format!("settled=false&created_after={before}&created_before={after}"),
            &[&shipment, &refund],
        ),
        (&format!("settled=false&created_before={before}"), &[]),
        (&format!("settled=false&created_after={after}"), &[]),
    ] {
        let listed = stack.order.get(&format!("/orders?{query}")).await;
        assert_eq!(listed.status, 200, "{query}: {listed:?}");
        let listed = listed.json();
        let ids = listed["orders"].as_array().unwrap().iter();
        let ids: Vec<_> = ids.map(|order| order["id"].as_str().unwrap()).collect();
        assert_eq!(ids, found, "{query}");
    }
    // A page of one goes on to the next.
    let first = stack
        .order
        .get("/orders?settled=false&limit=1")
        .await
        .json();
    assert_eq!(first["orders"][0]["id"], json!(shipment));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = format!("/orders?settled=false&limit=1&cursor={cursor}");
    let second = stack.order.get(&second).await.json();
    assert_eq!(second["orders"][0]["id"], json!(refund));
    assert_eq!(second["next_cursor"], json!(null));
}
