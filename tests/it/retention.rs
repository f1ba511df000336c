//! Old orders that are over leave, with all their rows.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use valerix::{inventory, order, payment};

use crate::harness::events::Listener;
use crate::harness::old_orders::old_orders;
use crate::harness::violations::violated;
use crate::harness::{Response, Run, Service, Stack, eventually};

/// Makes every order and event that exists 40 days older.
const AGE: &str = "
    UPDATE orders SET created_at = created_at - interval '40 days',
        updated_at = updated_at - interval '40 days';
    UPDATE order_events SET at = at - interval '40 days'";

/// Rows of all tables that retention deletes from.
async fn rows(stack: &Stack) -> [i64; 5] {
    let tables = [
        "orders",
        "order_events",
        "reservations",
        "payments",
        "leaving_orders",
    ];
    let mut rows = [0; 5];
    for (table, rows) in tables.iter().zip(&mut rows) {
        let count = format!("SELECT count(*) FROM {table}");
        *rows = stack.database.count(&count).await;
    }
    rows
}

/// Places an order and fulfils it.
async fn fulfilled(stack: &Stack, quantity: i32) -> String {
    let id = stack.confirmed("PROD-001", quantity).await;
    assert_eq!(stack.order.act("fulfil", &id).await.status, 200);
    id
}

/// Places an order and cancels it.
async fn cancelled(stack: &Stack) -> String {
    let id = stack.confirmed("PROD-001", 1).await;
    assert_eq!(stack.order.act("cancel", &id).await.status, 200);
    id
}

async fn step(service: &Service, body: &Value) -> Response {
    service.post("/retention/steps", body).await
}

/// Makes steps until a run has ended. Returns the sum of a figure of the steps.
async fn run(service: &Service, figure: &str) -> i64 {
    let mut body = json!({"older_than_days": 30});
    let mut sum = 0;
    loop {
        let response = step(service, &body).await;
        assert_eq!(response.status, 200, "{response:?}");
        let done = response.json();
        sum += done[figure].as_i64().unwrap();
        body["cursor"] = done["next_cursor"].clone();
        if body["cursor"].is_null() {
            return sum;
        }
    }
}

async fn command(stack: &Stack, arguments: &[&str]) -> Run {
    let all = [&["retention", "run", "--url", &stack.order.url], arguments].concat();
    Run::of(&all, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_over_and_old_leave_with_all_their_rows() {
    let stack = Stack::start().await;
    let over = [
        fulfilled(&stack, 2).await,
        cancelled(&stack).await,
        stack.place("PROD-404", 1).await.order_id(),
        stack.place("PROD-001", 1000).await.order_id(),
    ];
    let confirmed = stack.confirmed("PROD-001", 3).await;
    let owing = stack.confirmed("PROD-001", 1).await;
    stack.wait_until_settled().await;
    stack.database.execute(AGE).await;
    let pending = stack.store_pending().await;
    let young = fulfilled(&stack, 1).await;
    stack
        .database
        .execute(&format!(
            "UPDATE orders SET shipment_owed = true, owed_since = now(),
                 lease_until = now() + interval '1 hour' WHERE id = '{owing}';
             UPDATE orders SET created_at = now() - interval '40 days',
                 updated_at = now() - interval '40 days' WHERE id = '{pending}'"
        ))
        .await;
    let before = rows(&stack).await;
    let figures = stack.inventory.get("/inventory/PROD-001").await.json();

    let counted = command(&stack, &["--dry-run", "--older-than-days", "30"]).await;
    let counted = counted.assert_success();
    // placed, confirmed, fulfilment-requested, fulfilled; placed, confirmed, cancelled and two for
    // the release and the refund; twice placed, failed, no-stock-held.
    let left = "4 orders, 15 events, 4 reservations and 2 payments";
    assert!(
        counted.starts_with(&format!("{left} would be deleted: ")),
        "{counted}"
    );
    assert_eq!(rows(&stack).await, before);

    let deleted = command(&stack, &["--older-than-days", "30", "--json"]).await;
    let deleted: Value = serde_json::from_str(&deleted.assert_success()).unwrap();
    assert_eq!(deleted["orders"], 4, "{deleted}");
    let [orders, events, reservations, payments, leaving] = before;
    assert_eq!(
        rows(&stack).await,
        [
            orders - 4,
            events - 15,
            reservations - 4,
            payments - 2,
            leaving
        ]
    );
    for id in &over {
        let gone = stack.order.get(&format!("/orders/{id}")).await;
        gone.assert_problem(404, "not-found");
        stack
            .order
            .act("cancel", id)
            .await
            .assert_problem(404, "not-found");
    }
    for id in [&confirmed, &owing, &pending, &young] {
        stack.order.order(id).await;
    }
    let after = stack.inventory.get("/inventory/PROD-001").await.json();
    assert_eq!(after, figures, "no unit has moved");
    let counted = "SELECT quantity FROM forgotten_shipments WHERE product_id = 'PROD-001'";
    assert_eq!(stack.database.count(counted).await, 2);
    assert!((stack.order.metric("valerix_retention_orders_total").await - 4.0).abs() < 0.1);
    stack
        .database
        .execute(&format!(
            "UPDATE orders SET shipment_owed = false, owed_since = NULL WHERE id = '{owing}';
             DELETE FROM orders WHERE id = '{pending}'"
        ))
        .await;
    stack.assert_clean_audit().await;
    assert_eq!(run(&stack.order, "orders").await, 0, "nothing more is old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_retention_days_lets_old_orders_leave_by_itself() {
    let mut stack = Stack::start().await;
    stack.database.execute(&old_orders(100).join(";")).await;
    stack.restart_order(&[("RETENTION_DAYS", "30")]).await;
    let replica = stack.start_order_replica().await;
    eventually("every order to leave", async || {
        (rows(&stack).await == [0; 5]).then_some(())
    })
    .await;
    eventually("a log line about the run", async || {
        let lines = stack.order.lines();
        let is_report = |line: &String| line.contains("retention has run");
        lines.iter().any(is_report).then_some(())
    })
    .await;
    stack.assert_clean_audit().await;
    drop(replica);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_rows_contradict_its_end_stays_until_they_are_repaired() {
    let stack = Stack::start().await;
    let paid = cancelled(&stack).await;
    let held = fulfilled(&stack, 1).await;
    let other = fulfilled(&stack, 1).await;
    stack.wait_until_settled().await;
    let spoil = format!(
        "{AGE};
         UPDATE payments SET status = 'SUCCESS' WHERE order_id = '{paid}';
         UPDATE reservations SET state = 'HELD' WHERE order_id = '{held}';
         UPDATE inventory SET reserved = 1, shipped = 1 WHERE product_id = 'PROD-001'"
    );
    stack.database.execute(&spoil).await;
    let refused = command(&stack, &["--older-than-days", "30"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stdout.contains("\nOrders that stay: 2. "),
        "{}",
        refused.stdout
    );
    // The services are asked again after an hour. Until then the orders still stay.
    for again in [vec![], vec!["--dry-run"]] {
        let again = command(&stack, &[&["--older-than-days", "30"], &again[..]].concat()).await;
        assert_eq!(again.code, Some(1), "{}", again.stderr);
        assert!(again.stdout.starts_with("0 orders, "), "{}", again.stdout);
        assert!(again.stdout.contains("stay: 2. "), "{}", again.stdout);
    }
    assert_eq!(stack.holdings(&paid).await, "- SUCCESS");
    assert_eq!(stack.holdings(&held).await, "HELD SUCCESS");
    assert_eq!(stack.holdings(&other).await, "- -");
    let audit = stack.audit().await.unwrap();
    assert_eq!(
        violated(&audit),
        [
            ("failed-keeps-nothing", 1),
            ("leaving-is-not-contradicted", 2)
        ],
        "{audit}"
    );
    assert_eq!(audit.orders.leaving, 2);
    let repair = format!(
        "UPDATE payments SET status = 'REFUNDED' WHERE order_id = '{paid}';
         UPDATE reservations SET state = 'SHIPPED' WHERE order_id = '{held}';
         UPDATE inventory SET reserved = 0, shipped = 2 WHERE product_id = 'PROD-001';
         UPDATE leaving_orders SET next_attempt_at = now()"
    );
    stack.database.execute(&repair).await;
    stack.assert_clean_audit().await;
    assert_eq!(run(&stack.order, "orders").await, 2);
    stack.assert_clean_audit().await;
}

/// Lets ten orders leave while a service aborts or stalls at a failpoint.
async fn assert_survives(point: &str, action: &str) {
    let mut stack = Stack::start().await;
    stack.database.execute(&old_orders(10).join(";")).await;
    let plan = format!("{point}={action}");
    let armed = [("VALERIX_FAILPOINT", plan.as_str())];
    match point.split_once('.').unwrap().0 {
        "order" => stack.restart_order(&armed).await,
        "inventory" => stack.restart_inventory(&armed).await,
        _ => stack.restart_payment(&armed).await,
    }
    let other = stack.start_order_replica().await;
    let interrupted = async {
        let body = json!({"older_than_days": 30}).to_string();
        let _ = stack
            .order
            .try_request(Method::POST, "/retention/steps", &[], Some(&body))
            .await;
    };
    let others = async {
        // Another replica goes on as soon as the failpoint is reached.
        eventually(&format!("{plan} to be reached"), async || {
            let lines = stack.lines();
            let is_reached = |line: &String| line.contains("failpoint reached");
            lines.iter().any(is_reached).then_some(())
        })
        .await;
        let audit = other.audit().await.unwrap();
        assert!(audit.clean, "{plan}: {audit}");
        let due = "UPDATE leaving_orders SET next_attempt_at = now()";
        stack.database.execute(due).await;
        let body = json!({"older_than_days": 30});
        let _ = step(&other, &body).await;
    };
    tokio::join!(interrupted, others);
    stack.restart_ended().await;
    eventually(&format!("{plan}: every order to leave"), async || {
        let due = "UPDATE leaving_orders SET next_attempt_at = now()";
        stack.database.execute(due).await;
        run(&stack.order, "orders").await;
        (rows(&stack).await == [0; 5]).then_some(())
    })
    .await;
    let figures = stack.inventory.get("/inventory/PROD-001").await.json();
    assert_eq!(
        [&figures["stock"], &figures["reserved"], &figures["shipped"]],
        [95, 0, 5],
        "{plan}"
    );
    let counted = "SELECT quantity FROM forgotten_shipments";
    assert_eq!(stack.database.count(counted).await, 5, "{plan}");
    stack.assert_clean_audit().await;
}

async fn assert_survives_all(action: &str) {
    let all = [
        order::RETENTION_FAILPOINTS,
        inventory::RETENTION_FAILPOINTS,
        payment::RETENTION_FAILPOINTS,
    ]
    .concat();
    for points in all.chunks(4) {
        join_all(points.iter().map(|point| assert_survives(point, action))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_aborted_anywhere_is_finished_later() {
    assert_survives_all("abort").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_stalls_anywhere_deletes_and_counts_nothing_twice() {
    assert_survives_all("stall:3000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_wait_while_payment_is_away_and_leave_later() {
    let mut stack = Stack::start().await;
    fulfilled(&stack, 1).await;
    stack.wait_until_settled().await;
    stack.database.execute(AGE).await;
    stack.payment.process.kill().await.unwrap();
    let waiting = command(&stack, &["--older-than-days", "30"]).await;
    assert_eq!(waiting.code, Some(1), "{}", waiting.stderr);
    assert!(
        waiting.stdout.contains("\nOrders that wait: 1. "),
        "{}",
        waiting.stdout
    );
    let audit = stack.audit().await.unwrap();
    assert!(audit.clean && audit.orders.leaving == 1, "{audit}");
    assert!(audit.to_string().contains(", 1 leaving\n"), "{audit}");
    stack.restart_payment(&[]).await;
    let counted = command(&stack, &["--older-than-days", "30", "--dry-run"]).await;
    let counted = counted.assert_success();
    assert!(counted.starts_with("1 order, "), "{counted}");
    let due = "UPDATE leaving_orders SET next_attempt_at = now()";
    stack.database.execute(due).await;
    assert_eq!(run(&stack.order, "orders").await, 1);
    assert_eq!(rows(&stack).await, [0; 5]);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_arrives_more_than_an_hour_late_does_nothing() {
    let stack = Stack::start().await;
    let id = Uuid::new_v4();
    let reserve = json!({"order_id": id, "product_id": "PROD-001", "quantity": 1});
    let about = json!({"order_id": id});
    let now = chrono::Utc::now().timestamp_millis();
    let late = (now - 7_200_000).to_string();
    let messages = [
        (&stack.inventory, "/inventory/reserve", &reserve),
        (&stack.inventory, "/inventory/release", &about),
        (&stack.inventory, "/inventory/ship", &about),
        (&stack.payment, "/payments", &about),
        (&stack.payment, "/payments/void", &about),
    ];
    let send = async |at: &str| {
        let mut responses = Vec::new();
        for (service, path, body) in messages {
            let headers = [("x-deadline-ms", "2000"), ("x-deadline-at", at)];
            let body = body.to_string();
            let response = service.request(Method::POST, path, &headers, Some(&body));
            responses.push(response.await);
        }
        responses
    };
    for response in send(&late).await {
        response.assert_problem(503, "deadline-passed");
    }
    for response in send("soon").await {
        let problem = response.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "x-deadline-at");
    }
    for (service, path, body) in [
        (&stack.inventory, "/inventory/reserve/batch", &reserve),
        (&stack.payment, "/payments/batch", &about),
    ] {
        let call = json!({"body": body, "deadline_at": now - 7_200_000});
        let response = service.post(path, &json!({"calls": [call]})).await;
        let line: Value = serde_json::from_str(response.text.trim()).unwrap();
        assert_eq!(line["body"]["code"], "deadline-passed", "{line}");
    }
    assert_eq!(stack.holdings(&id.to_string()).await, "- -");
    let in_time = send(&(now - 60_000).to_string()).await;
    assert_eq!(in_time[0].status, 200, "{in_time:?}");
    assert_ne!(stack.holdings(&id.to_string()).await, "- -");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_missed_deleted_changes_is_reset() {
    let stack = Stack::start().await;
    let before = Listener::open(&stack.order, None).await.id;
    fulfilled(&stack, 1).await;
    stack.wait_until_settled().await;
    let after = {
        let mut listener = Listener::open(&stack.order, Some(&before)).await;
        listener.changes(4).await;
        listener.id
    };
    stack.database.execute(AGE).await;
    let kept = stack.confirmed("PROD-001", 1).await;
    assert_eq!(run(&stack.order, "orders").await, 1);
    // Changes are missing after the first position, and none after the second.
    Listener::open(&stack.order, Some(&before))
        .await
        .assert_reset()
        .await;
    let mut listener = Listener::open(&stack.order, Some(&after)).await;
    for change in listener.changes(2).await {
        assert_eq!(change.order_id, kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_is_shorter_than_the_life_of_a_key_is_refused() {
    let url = [("DATABASE_URL", "postgres://nowhere/x")];
    for (variables, message) in [
        (
            &[
                ("RETENTION_DAYS", "1"),
                ("IDEMPOTENCY_KEY_TTL_SECONDS", "86401"),
            ][..],
            "RETENTION_DAYS (--retention-days) is '1'; it takes at least 2, because \
             IDEMPOTENCY_KEY_TTL_SECONDS is 86401",
        ),
        (
            &[("RETENTION_DAYS", "0")],
            "RETENTION_DAYS (--retention-days) is '0'; it takes days from 1 to 36500",
        ),
    ] {
        let refused = Run::of(&["order"], &[&url, variables].concat()).await;
        let line = refused.assert_failure(2);
        assert!(line.contains(message), "{line}");
    }
    let stack = Stack::with(&[("IDEMPOTENCY_KEY_TTL_SECONDS", "864000")]).await;
    for (body, field) in [
        (json!({"older_than_days": 9}), "older_than_days"),
        (json!({"older_than_days": 10, "cursor": "x"}), "cursor"),
    ] {
        let response = step(&stack.order, &body).await;
        let problem = response.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
    step(&stack.order, &json!({}))
        .await
        .assert_problem(409, "retention-off");
    let allowed = step(&stack.order, &json!({"older_than_days": 10})).await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
}
