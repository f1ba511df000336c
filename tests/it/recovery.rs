//! Every order ends exactly once, in spite of kills, stops, lost responses, repeated requests and
//! concurrent ones.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use valerix::{inventory, order, payment};

use crate::harness::violations::violated;
use crate::harness::{
    LONG_STEPS, Response, Service, Stack, WAIT_TIMEOUT, eventually, free_port, stock_of,
};

fn body(product_id: &str, quantity: i32) -> String {
    json!({"product_id": product_id, "quantity": quantity}).to_string()
}

/// Sends an order with an idempotency key.
async fn place_with_key(service: &Service, key: &str, body: &str) -> Response {
    service
        .request(
            Method::POST,
            "/orders",
            &[("idempotency-key", key)],
            Some(body),
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_order_is_confirmed_within_5_s_after_its_dependency_recovers() {
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "1000")]).await;
    for (service, pending) in [
        (&stack.inventory, "PENDING_INVENTORY"),
        (&stack.payment, "PENDING_PAYMENT"),
    ] {
        service.set_latency(true, 30_000).await;
        let order = stack.place("PROD-001", 1).await;
        assert_eq!(
            (order.status.as_u16(), &order.json()["status"]),
            (202, &json!(pending))
        );
        // Waits until recovery has tried and failed.
        let takeovers = format!(
            "SELECT takeovers::bigint FROM orders WHERE id = '{}'",
            order.json()["id"].as_str().unwrap()
        );
        eventually("a failed attempt", async || {
            (stack.database.count(&takeovers).await >= 2).then_some(())
        })
        .await;
        service.set_latency(false, 0).await;
        let recovered_at = Instant::now();
        stack.wait_until_settled().await;
        assert!(
            recovered_at.elapsed() < Duration::from_secs(5),
            "{:?}",
            recovered_at.elapsed()
        );
        let detail = stack.order.get(order.header("location")).await.json();
        assert_eq!(detail["status"], "CONFIRMED");
        let events = detail["events"].as_array().unwrap();
        assert_eq!(
            (&events[0]["reason"], &events[0]["attempt"]),
            (&json!("placed"), &json!(1))
        );
        let last = events.last().unwrap();
        assert_eq!(
            (&last["status"], &last["reason"]),
            (&json!("CONFIRMED"), &json!("confirmed"))
        );
        assert!(
            last["attempt"].as_i64() > Some(1) && last["trace_id"] != detail["trace_id"],
            "{last}"
        );
    }
    stack.assert_clean_audit().await;
}

/// Places 40 orders at once while a dependency is suspended for 6 s, longer than a step may take.
async fn place_orders_while_suspended(dependency: impl Fn(&Stack) -> &Service) {
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "4000")]).await;
    dependency(&stack).process.signal(Signal::SIGSTOP);
    let suspended = Instant::now();
    let orders = join_all((0..40).map(|_| stack.place("PROD-001", 1)));
    let others = async {
        let mut slowest = Duration::ZERO;
        while suspended.elapsed() < Duration::from_secs(3) {
            for path in ["/orders", "/sla", "/readyz"] {
                let response = stack.order.get(path).await;
                assert_eq!(response.status, 200, "{response:?}");
                slowest = slowest.max(response.took);
            }
        }
        slowest
    };
    let (responses, slowest) = tokio::join!(orders, others);
    for response in &responses {
        assert!(
            [201, 202].contains(&response.status.as_u16()),
            "{response:?}"
        );
        assert!(
            response.took < Duration::from_secs(10),
            "{:?}",
            response.took
        );
    }
    // A request that waited for the dependency would take the timeout of a step.
    assert!(
        slowest < Duration::from_millis(3500),
        "other requests took up to {slowest:?}"
    );
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(suspended.elapsed())).await;
    dependency(&stack).process.signal(Signal::SIGCONT);
    stack.wait_until_settled().await;
    let audit = stack.audit().await.unwrap();
    assert_eq!(
        (audit.orders.total, audit.orders.confirmed),
        (40, 40),
        "{audit}"
    );
    assert_eq!(stack.stock("PROD-001").await, (60, 40));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_placed_while_inventory_is_suspended_are_answered_and_confirmed_later() {
    place_orders_while_suspended(|stack| &stack.inventory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_placed_while_payment_is_suspended_are_answered_and_confirmed_later() {
    place_orders_while_suspended(|stack| &stack.payment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_survives_an_inventory_process_that_aborts_between_commit_and_response() {
    let mut stack = Stack::start().await;
    for _ in 0..5 {
        stack
            .restart_inventory(&[("VALERIX_FAILPOINT", "inventory.reserve.committed=abort")])
            .await;
        let order = stack.place("PROD-001", 2).await;
        assert_eq!(order.status, 202, "{order:?}");
        stack.inventory.process.wait().await.unwrap();
        stack.restart_inventory(&[]).await;
        // The order is settled first: it must not reach the failpoint of the next round.
        stack.wait_until_settled().await;
    }
    let audit = stack.audit().await.unwrap();
    assert_eq!(audit.orders.confirmed, 5, "{audit}");
    assert_eq!(stack.stock("PROD-001").await, (90, 10));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_500_orders_for_50_units_through_two_replicas_50_are_confirmed() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let body = json!({"product_id": "PROD-002", "quantity": 1});
    let orders =
        (0..500).map(|n| if n % 2 == 0 { &stack.order } else { &second }.post("/orders", &body));
    let responses = join_all(orders).await;
    assert!(
        responses
            .iter()
            .all(|response| [201, 202, 409, 503].contains(&response.status.as_u16())),
        "{responses:?}"
    );
    stack.wait_until_settled().await;
    let audit = stack.audit().await.unwrap();
    assert_eq!(audit.orders.confirmed, 50, "{audit}");
    assert_eq!(stack.stock("PROD-002").await, (0, 50));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_concurrent_requests_with_one_key_create_one_order() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let body = body("PROD-001", 1);
    let requests = (0..20).map(|n| {
        place_with_key(
            if n % 2 == 0 { &stack.order } else { &second },
            "same",
            &body,
        )
    });
    let responses = join_all(requests).await;
    let mut ids: Vec<Value> = Vec::new();
    for response in &responses {
        match response.status.as_u16() {
            201 => ids.push(response.json()["id"].clone()),
            409 => ids.push(
                response.assert_problem(409, "idempotency-key-in-flight")["order_id"].clone(),
            ),
            _ => panic!("{response:?}"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 1);
    assert_eq!(stack.stock("PROD-001").await, (99, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_replays_the_first_response_and_rejects_another_body() {
    let mut stack = Stack::start().await;
    let confirmed = place_with_key(&stack.order, "\"c-1\"", &body("PROD-001", 1)).await;
    let again = place_with_key(&stack.order, "c-1", &body("PROD-001", 1)).await;
    assert_eq!(
        (again.status, again.json()),
        (confirmed.status, confirmed.json()),
        "bare and quoted are one key"
    );
    assert_eq!(again.header("location"), confirmed.header("location"));
    place_with_key(&stack.order, "c-1", &body("PROD-001", 2))
        .await
        .assert_problem(422, "idempotency-key-reused");
    place_with_key(&stack.order, "c-1", &body("PROD-002", 1))
        .await
        .assert_problem(422, "idempotency-key-reused");

    let rejected = place_with_key(&stack.order, "f-1", &body("PROD-404", 1))
        .await
        .assert_problem(422, "unknown-product");
    let again = place_with_key(&stack.order, "f-1", &body("PROD-404", 1)).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        rejected["order_id"],
        again.assert_problem(422, "unknown-product")["order_id"]
    );
    place_with_key(&stack.order, "v-1", &body("PROD-001", 0))
        .await
        .assert_problem(400, "invalid-request");
    assert_eq!(
        place_with_key(&stack.order, "v-1", &body("PROD-001", 1))
            .await
            .status,
        201,
        "a 400 does not use up the key"
    );

    stack.inventory.set_latency(true, 30_000).await;
    let pending = place_with_key(&stack.order, "p-1", &body("PROD-001", 1)).await;
    assert_eq!(pending.status, 202);
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    // A new process reads the key from the database.
    stack.order.process.kill().await.unwrap();
    stack.order = stack.start_order_replica().await;
    let later = place_with_key(&stack.order, "p-1", &body("PROD-001", 1)).await;
    assert_eq!(
        (later.status.as_u16(), &later.json()["id"]),
        (201, &pending.json()["id"])
    );
    let current = stack.order.get(later.header("location")).await.json();
    for field in ["status", "updated_at", "settled"] {
        assert_eq!(
            later.json()[field],
            current[field],
            "after a 202, the key returns the current state of the order"
        );
    }
    assert!(
        later.headers.get("retry-after").is_none(),
        "the order has ended, so there is nothing to wait for"
    );
    assert_eq!(later.header("idempotency-replayed"), "true");
    assert!(
        pending.headers.get("idempotency-replayed").is_none(),
        "the first response is not a replay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_aborted_request_is_in_flight_until_its_lease_ends_and_then_answered() {
    // The lease is two steps and 2 s: longer than the start of a replica on a loaded machine.
    let mut stack = Stack::with(&[
        ("DOWNSTREAM_TIMEOUT_MS", "5000"),
        ("VALERIX_FAILPOINT", "order.reserved=abort"),
    ])
    .await;
    let request = [("idempotency-key", "k")];
    let aborted = stack
        .order
        .try_request(
            Method::POST,
            "/orders",
            &request,
            Some(&body("PROD-001", 1)),
        )
        .await;
    assert!(aborted.is_err(), "{aborted:?}");
    stack.order = stack.start_order_replica().await;
    place_with_key(&stack.order, "k", &body("PROD-001", 1))
        .await
        .assert_problem(409, "idempotency-key-in-flight");
    stack.wait_until_settled().await;
    let first = place_with_key(&stack.order, "k", &body("PROD-001", 1)).await;
    assert_eq!(
        (first.status.as_u16(), &first.json()["status"]),
        (201, &json!("CONFIRMED"))
    );
    assert_eq!(
        place_with_key(&stack.order, "k", &body("PROD-001", 1))
            .await
            .json(),
        first.json()
    );
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_key_is_rejected_with_a_400_that_names_the_header() {
    let stack = Stack::start().await;
    let long = "x".repeat(256);
    for key in ["", "\"\"", "\"open", "a\tb", &long] {
        let problem = place_with_key(&stack.order, key, &body("PROD-001", 1))
            .await
            .assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "idempotency-key");
    }
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_keys_are_deleted_and_can_be_used_again() {
    let short = [
        ("IDEMPOTENCY_KEY_TTL_SECONDS", "1"),
        ("RECOVERY_BOUND_SECONDS", "1"),
    ];
    let stack = Stack::with(&short).await;
    assert_eq!(
        place_with_key(&stack.order, "k", &body("PROD-001", 1))
            .await
            .status,
        201
    );
    let kept = "SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL";
    eventually("the key to be deleted", async || {
        (stack.database.count(kept).await == 0).then_some(())
    })
    .await;
    assert_eq!(
        place_with_key(&stack.order, "k", &body("PROD-001", 2))
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_unsettled_order_does_not_expire() {
    let short = [
        ("IDEMPOTENCY_KEY_TTL_SECONDS", "1"),
        ("RECOVERY_BOUND_SECONDS", "1"),
    ];
    let stack = Stack::with(&short).await;
    assert_eq!(
        place_with_key(&stack.order, "settled", &body("PROD-001", 1))
            .await
            .status,
        201
    );
    stack.payment.set_latency(true, 30_000).await;
    let pending = place_with_key(&stack.order, "owing", &body("PROD-001", 1)).await;
    assert_eq!(pending.status, 202);
    // The order expires, and owes a refund as long as payment does not respond.
    let keys = "SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL";
    let expired = "SELECT count(*) FROM orders WHERE failure_reason = 'expired' AND refund_owed";
    eventually(
        "the order to expire, and the other key to be deleted",
        async || {
            let (expired, keys) = (
                stack.database.count(expired).await,
                stack.database.count(keys).await,
            );
            ((expired, keys) == (1, 1)).then_some(())
        },
    )
    .await;
    let again = place_with_key(&stack.order, "owing", &body("PROD-001", 1))
        .await
        .assert_problem(409, "expired");
    assert_eq!(again["order_id"], pending.json()["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_past_the_recovery_bound_fails_and_keeps_neither_stock_nor_payment() {
    let stack = Stack::with(&[("RECOVERY_BOUND_SECONDS", "1")]).await;
    stack.payment.set_latency(true, 30_000).await;
    let order = stack.place("PROD-001", 1).await;
    assert_eq!(order.json()["status"], "PENDING_PAYMENT");
    let failed =
        "SELECT count(*) FROM orders WHERE status = 'FAILED' AND failure_reason = 'expired'";
    eventually("the order to expire", async || {
        (stack.database.count(failed).await == 1).then_some(())
    })
    .await;
    assert_eq!(
        stack.audit().await.unwrap().orders.unsettled,
        1,
        "the refund is owed while payment does not respond"
    );
    stack.payment.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    let expired = json!({"order_id": order.json()["id"]});
    assert_eq!(
        stack.payment.post("/payments", &expired).await.status,
        402,
        "a late charge is declined because of the void"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_deadline_has_passed_are_rejected_before_their_transaction() {
    let stack = Stack::start().await;
    let reserve = body("PROD-001", 1);
    let order = json!({"order_id": "0d5c4a44-0f9b-4a52-9f0e-7a4a6f2e4a11"}).to_string();
    let expired = [("x-deadline-ms", "0")];
    for (service, path, body) in [
        (&stack.inventory, "/inventory/reserve", &reserve),
        (&stack.inventory, "/inventory/release", &order),
        (&stack.inventory, "/inventory/ship", &order),
        (&stack.payment, "/payments", &order),
        (&stack.payment, "/payments/void", &order),
    ] {
        service
            .request(Method::POST, path, &expired, Some(body))
            .await
            .assert_problem(503, "deadline-passed");
        let invalid = service
            .request(Method::POST, path, &[("x-deadline-ms", "soon")], Some(body))
            .await;
        assert_eq!(
            invalid.assert_problem(400, "invalid-request")["errors"][0]["field"],
            "x-deadline-ms"
        );
    }
    // The gremlin's delay counts towards the deadline.
    stack.inventory.set_latency(true, 300).await;
    let slow = [("x-deadline-ms", "200")];
    let response = stack
        .inventory
        .request(Method::POST, "/inventory/reserve", &slow, Some(&reserve))
        .await;
    response.assert_problem(503, "deadline-passed");
    for table in ["reservations", "payments"] {
        assert_eq!(
            stack
                .database
                .count(&format!("SELECT count(*) FROM {table}"))
                .await,
            0
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_answers_without_delay_and_closes_when_the_dependency_recovers() {
    let stack = Stack::start().await;
    stack.inventory.set_latency(true, 30_000).await;
    join_all((0..12).map(|_| stack.place("PROD-001", 1))).await;
    let open =
        r#"valerix_breaker_state{dependency="inventory-service",route="reserve",state="open"} 1"#;
    eventually("a response without delay", async || {
        let response = stack.place("PROD-001", 1).await;
        assert_eq!(response.status, 202);
        let is_open = stack.order.get("/metrics").await.text.contains(open);
        // Less than the timeout of a step.
        (is_open && response.took < Duration::from_secs(1)).then_some(())
    })
    .await;
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    let closed =
        r#"valerix_breaker_state{dependency="inventory-service",route="reserve",state="closed"} 1"#;
    assert!(stack.order.get("/metrics").await.text.contains(closed));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_dependency_that_refuses_connections_are_retried_without_delay() {
    let mut stack = Stack::with(&[LONG_STEPS]).await;
    stack.inventory.process.kill().await.unwrap();
    let order = stack.place("PROD-001", 1).await;
    assert_eq!(order.status, 202);
    assert!(
        order.took < Duration::from_secs(6),
        "a refused connection needs no timeout: {:?}",
        order.took
    );
    let metrics = stack.order.get("/metrics").await.text;
    let retries = r#"valerix_dependency_retries_total{dependency="inventory-service"} "#;
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix(retries))
        .unwrap()
        .to_owned();
    assert!(counted.parse::<u32>().unwrap() >= 2, "{counted}");
    stack.restart_inventory(&[]).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

/// Runs orders of every kind past one failpoint, and audits the database afterwards.
async fn assert_survives(point: &str, action: &str) {
    let plan = format!("{point}={action}");
    let armed = [("VALERIX_FAILPOINT", plan.as_str())];
    let mut stack = Stack::with(&[
        ("DOWNSTREAM_TIMEOUT_MS", "300"),
        ("PAYMENT_SUCCESS_RATE", "0.5"),
    ])
    .await;
    match point.split('.').next() {
        Some("order") => stack.restart_order(&armed).await,
        Some("inventory") => stack.restart_inventory(&armed).await,
        _ => stack.restart_payment(&armed).await,
    }
    stack.database.execute(&stock_of(100_000)).await;
    // Some orders are confirmed and some declined. In some rounds payment is slow, so that orders
    // expire and owe a refund. Services whose process ended are restarted after each round.
    let shipment = Uuid::new_v4();
    let started = Instant::now();
    for round in 0.. {
        let is_slow = round % 3 == 1;
        if is_slow {
            try_latency(&stack.payment, true).await;
        }
        let request = body("PROD-001", 1);
        let orders = (0..3).map(|_| {
            stack
                .order
                .try_request(Method::POST, "/orders", &[], Some(&request))
        });
        let _ = join_all(orders).await;
        if point.contains("void") {
            let expire = "UPDATE orders SET created_at = created_at - interval '2 hours'
                WHERE status LIKE 'PENDING%'";
            stack.database.execute(expire).await;
        }
        if point.starts_with("inventory.ship") {
            try_to_ship(&stack, shipment).await;
        }
        if point.starts_with("order") {
            cancel_and_fulfil(&stack).await;
        }
        if is_slow {
            try_latency(&stack.payment, false).await;
        }
        let reached = stack
            .lines()
            .iter()
            .any(|line| line.contains("failpoint reached"));
        stack.restart_ended().await;
        if reached && round >= 3 {
            break;
        }
        assert!(
            reached || started.elapsed() < WAIT_TIMEOUT * 2,
            "{plan}: the failpoint was never reached"
        );
    }
    stack.restart_until_settled(&plan).await;
    if point.starts_with("inventory.ship") {
        let status = try_to_ship(&stack, shipment).await;
        assert_eq!(status, Some(StatusCode::OK), "{plan}");
        let shipped = "SELECT sum(shipped) FROM inventory";
        assert_eq!(stack.database.count(shipped).await, 1, "{plan}");
        stack.store_orders_of_shipped_reservations().await;
    }
    stack.assert_clean_audit().await;
}

/// Cancels one confirmed order and fulfils another. The order service may not be running.
async fn cancel_and_fulfil(stack: &Stack) {
    let confirmed = "SELECT id::text FROM orders WHERE status = 'CONFIRMED'
            AND NOT shipment_owed AND fulfilled_at IS NULL ORDER BY id LIMIT 2";
    let orders = stack.database.query(confirmed).await;
    let actions = ["cancel", "fulfil"].into_iter().zip(&orders);
    join_all(actions.map(|(action, order)| {
        let path = format!("/orders/{}/{action}", order.get::<_, String>(0));
        async move {
            let _ = stack
                .order
                .try_request(Method::POST, &path, &[], None)
                .await;
        }
    }))
    .await;
}

/// Reserves a unit for an order and ships it. Both are repeated after each round, and the inventory
/// service may not be running.
async fn try_to_ship(stack: &Stack, order: Uuid) -> Option<StatusCode> {
    let body = json!({"order_id": order, "product_id": "PROD-001", "quantity": 1}).to_string();
    let post = |path| {
        stack
            .inventory
            .try_request(Method::POST, path, &[], Some(&body))
    };
    let _ = post("/inventory/reserve").await;
    Some(post("/inventory/ship").await.ok()?.status)
}

/// Sets the latency switch of a service that may not be running.
async fn try_latency(service: &Service, enabled: bool) {
    let switch = json!({"enabled": enabled, "delay_ms": 600}).to_string();
    let _ = service
        .try_request(Method::POST, "/gremlin/latency", &[], Some(&switch))
        .await;
}

async fn assert_survives_all(action: &str) {
    // Four failpoints at a time: each has three processes of its own.
    let all = [
        order::FAILPOINTS,
        inventory::FAILPOINTS,
        payment::FAILPOINTS,
    ]
    .concat();
    for points in all.chunks(4) {
        join_all(points.iter().map(|point| assert_survives(point, action))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failpoint_is_survived_when_the_process_aborts() {
    assert_survives_all("abort").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failpoint_is_survived_when_the_process_stalls_and_wakes_late() {
    // The stall is longer than a request's lease (two steps of 300 ms, and 2 s). When it ends,
    // another worker has taken the order over.
    assert_survives_all("stall:3500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_reports_each_violated_invariant() {
    let stack = Stack::start().await;
    for _ in 0..3 {
        assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    }
    stack.place("PROD-404", 1).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    let confirmed = "(SELECT id FROM orders WHERE status = 'CONFIRMED' ORDER BY id LIMIT 1)";
    let failed = "(SELECT id FROM orders WHERE status = 'FAILED')";
    for (cause, repair, invariant) in [
        (
            "UPDATE inventory SET stock = stock - 1 WHERE product_id = 'PROD-001'",
            "UPDATE inventory SET stock = stock + 1 WHERE product_id = 'PROD-001'",
            "stock-conserved",
        ),
        (
            "UPDATE inventory SET stock = stock - 1, reserved = reserved + 1
             WHERE product_id = 'PROD-001'",
            "UPDATE inventory SET stock = stock + 1, reserved = reserved - 1
             WHERE product_id = 'PROD-001'",
            "reserved-is-held",
        ),
        (
            &format!("UPDATE payments SET status = 'REFUNDED' WHERE order_id = {confirmed}"),
            &format!("UPDATE payments SET status = 'SUCCESS' WHERE order_id = {confirmed}"),
            "confirmed-is-held-and-paid",
        ),
        (
            &format!("UPDATE reservations SET quantity = 2 WHERE order_id = {confirmed}"),
            &format!("UPDATE reservations SET quantity = 1 WHERE order_id = {confirmed}"),
            "confirmed-is-held-and-paid",
        ),
        (
            &format!("INSERT INTO payments (order_id, status) SELECT {failed}, 'SUCCESS'"),
            &format!("DELETE FROM payments WHERE order_id = {failed}"),
            "failed-keeps-nothing",
        ),
        (
            "INSERT INTO orders (product_id, quantity, created_at, lease_until)
             VALUES ('PROD-001', 1, now() - interval '2 hours', now() + interval '1 hour')",
            "DELETE FROM orders WHERE status = 'PENDING'",
            "finished-in-time",
        ),
    ] {
        stack.database.execute(cause).await;
        let audit = stack.audit().await.unwrap();
        let is_found = violated(&audit).iter().any(|(name, _)| *name == invariant);
        assert!(!audit.clean && is_found, "{cause}: {audit}");
        stack.database.execute(repair).await;
        assert!(stack.audit().await.unwrap().clean, "{repair}");
    }
    // The audit also checks what a constraint of the schema forbids.
    let second_payment = "ALTER TABLE payments DROP CONSTRAINT payments_once_per_order;
        INSERT INTO payments (order_id, status) SELECT order_id, 'FAILED' FROM payments LIMIT 1";
    stack.database.execute(second_payment).await;
    let audit = stack.audit().await.unwrap();
    assert!(
        audit
            .invariants
            .iter()
            .any(|i| i.name == "one-payment-per-order" && i.violations == 1),
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_command_reports_by_its_exit_code() {
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    let audit = async || {
        let mut command = tokio::process::Command::new(crate::harness::PROGRAM);
        command
            .args(["audit", "--database-url", &stack.database.url()])
            .output()
            .await
            .unwrap()
    };
    let clean = audit().await;
    assert!(
        clean.status.success()
            && String::from_utf8_lossy(&clean.stdout).contains("No invariant is violated."),
        "{clean:?}"
    );
    stack
        .database
        .execute("UPDATE inventory SET stock = 7 WHERE product_id = 'PROD-002'")
        .await;
    let broken = audit().await;
    let text = String::from_utf8_lossy(&broken.stdout);
    assert!(
        broken.status.code() == Some(1)
            && text.contains("✗ stock-conserved")
            && text.contains("PROD-002"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failpoint_cannot_be_armed_from_the_network() {
    let stack = Stack::start().await;
    let headers = [
        ("valerix-failpoint", "order.placed=abort"),
        ("x-failpoint", "order.placed=abort"),
    ];
    let order = body("PROD-001", 1);
    let in_headers = stack
        .order
        .request(Method::POST, "/orders", &headers, Some(&order))
        .await;
    assert_eq!(in_headers.status, 201);
    let in_query = stack
        .order
        .request(
            Method::POST,
            "/orders?failpoint=order.placed",
            &[],
            Some(&order),
        )
        .await;
    in_query.assert_problem(400, "invalid-request");
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let mut wrong = Service::start(
        "order",
        free_port(),
        &[
            ("DATABASE_URL", stack.database.url()),
            ("VALERIX_FAILPOINT", "nowhere=abort".to_owned()),
        ],
    );

    assert_eq!(wrong.process.wait().await.unwrap().code(), Some(2));
}
