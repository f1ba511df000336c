//! Every order ends, exactly once: kills, stops, lost answers, repetitions, and many at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use valerix::{inventory, order, payment};

use crate::harness::{Answer, Service, Stack, WAIT_TIMEOUT, eventually, free_port};

fn body(product_id: &str, quantity: i32) -> String {
    json!({"product_id": product_id, "quantity": quantity}).to_string()
}

async fn keyed(service: &Service, key: &str, body: &str) -> Answer {
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
async fn a_pending_order_is_confirmed_within_5_s_of_the_dependencys_return() {
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "500")]).await;
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
        // Long enough for attempts of recovery's to have failed.
        let attempts = format!(
            "SELECT attempts::bigint FROM orders WHERE id = '{}'",
            order.json()["id"].as_str().unwrap()
        );
        eventually("a failed attempt", async || {
            (stack.database.count(&attempts).await >= 2).then_some(())
        })
        .await;
        service.set_latency(false, 0).await;
        let back = Instant::now();
        stack.wait_until_settled().await;
        assert!(
            back.elapsed() < Duration::from_secs(5),
            "{:?}",
            back.elapsed()
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

/// 40 orders at once while a dependency is stopped for 6 s.
async fn orders_while_stopped(stop: impl Fn(&Stack) -> &Service) {
    let stack = Stack::start().await;
    stop(&stack).process.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let orders = join_all((0..40).map(|_| stack.place("PROD-001", 1)));
    let others = async {
        let mut slowest = Duration::ZERO;
        while stopped.elapsed() < Duration::from_secs(3) {
            for path in ["/orders", "/sla", "/readyz"] {
                let answer = stack.order.get(path).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                slowest = slowest.max(answer.took);
            }
        }
        slowest
    };
    let (answers, slowest) = tokio::join!(orders, others);
    for answer in &answers {
        assert!([201, 202].contains(&answer.status.as_u16()), "{answer:?}");
        assert!(answer.took < Duration::from_secs(5), "{:?}", answer.took);
    }
    assert!(
        slowest < Duration::from_millis(1500),
        "other requests took up to {slowest:?}"
    );
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(stopped.elapsed())).await;
    stop(&stack).process.signal(Signal::SIGCONT);
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
async fn orders_while_inventory_is_stopped_are_answered_and_all_end() {
    orders_while_stopped(|stack| &stack.inventory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_while_payment_is_stopped_are_answered_and_all_end() {
    orders_while_stopped(|stack| &stack.payment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_dying_between_commit_and_answer_costs_the_customer_nothing() {
    let mut stack = Stack::start().await;
    for _ in 0..5 {
        stack
            .restart_inventory(&[("VALERIX_FAILPOINT", "inventory.reserve.committed=abort")])
            .await;
        let order = stack.place("PROD-001", 2).await;
        assert_eq!(order.status, 202, "{order:?}");
        stack.inventory.process.ended().await.unwrap();
        stack.restart_inventory(&[]).await;
        // Nothing of this order's may reach the next failpoint.
        stack.wait_until_settled().await;
    }
    let audit = stack.audit().await.unwrap();
    assert_eq!(audit.orders.confirmed, 5, "{audit}");
    assert_eq!(stack.stock("PROD-001").await, (90, 10));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_buyers_for_fifty_units_through_two_replicas() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let body = json!({"product_id": "PROD-002", "quantity": 1});
    let buyers =
        (0..500).map(|n| if n % 2 == 0 { &stack.order } else { &second }.post("/orders", &body));
    let answers = join_all(buyers).await;
    assert!(
        answers
            .iter()
            .all(|answer| [201, 202, 409, 503].contains(&answer.status.as_u16())),
        "{answers:?}"
    );
    stack.wait_until_settled().await;
    let audit = stack.audit().await.unwrap();
    assert_eq!(audit.orders.confirmed, 50, "{audit}");
    assert_eq!(stack.stock("PROD-002").await, (0, 50));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_requests_with_one_key_are_one_order() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let body = body("PROD-001", 1);
    let requests = (0..20).map(|n| {
        keyed(
            if n % 2 == 0 { &stack.order } else { &second },
            "same",
            &body,
        )
    });
    let answers = join_all(requests).await;
    let mut ids: Vec<Value> = Vec::new();
    for answer in &answers {
        match answer.status.as_u16() {
            201 => ids.push(answer.json()["id"].clone()),
            409 => ids
                .push(answer.assert_problem(409, "idempotency-key-in-flight")["order_id"].clone()),
            _ => panic!("{answer:?}"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 1);
    assert_eq!(stack.stock("PROD-001").await, (99, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_gives_the_first_answer_again_and_no_other_body() {
    let mut stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "500")]).await;
    let confirmed = keyed(&stack.order, "\"c-1\"", &body("PROD-001", 1)).await;
    let again = keyed(&stack.order, "c-1", &body("PROD-001", 1)).await;
    assert_eq!(
        (again.status, again.json()),
        (confirmed.status, confirmed.json()),
        "bare and quoted are one key"
    );
    assert_eq!(again.header("location"), confirmed.header("location"));
    keyed(&stack.order, "c-1", &body("PROD-001", 2))
        .await
        .assert_problem(422, "idempotency-key-reused");
    keyed(&stack.order, "c-1", &body("PROD-002", 1))
        .await
        .assert_problem(422, "idempotency-key-reused");

    let refused = keyed(&stack.order, "f-1", &body("PROD-404", 1))
        .await
        .assert_problem(422, "unknown-product");
    let again = keyed(&stack.order, "f-1", &body("PROD-404", 1)).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        refused["order_id"],
        again.assert_problem(422, "unknown-product")["order_id"]
    );
    keyed(&stack.order, "v-1", &body("PROD-001", 0))
        .await
        .assert_problem(400, "invalid-request");
    assert_eq!(
        keyed(&stack.order, "v-1", &body("PROD-001", 1))
            .await
            .status,
        201,
        "a 400 takes no key"
    );

    stack.inventory.set_latency(true, 30_000).await;
    let pending = keyed(&stack.order, "p-1", &body("PROD-001", 1)).await;
    assert_eq!(pending.status, 202);
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    // A new process on the same database.
    stack.order.process.kill().await.unwrap();
    stack.order = stack.start_order_replica().await;
    let later = keyed(&stack.order, "p-1", &body("PROD-001", 1)).await;
    assert_eq!(
        (later.status.as_u16(), &later.json()["id"]),
        (201, &pending.json()["id"])
    );
    let now = stack.order.get(later.header("location")).await.json();
    for field in ["status", "updated_at", "settled"] {
        assert_eq!(
            later.json()[field],
            now[field],
            "after a 202 the key tells how the order stands now"
        );
    }
    assert!(
        later.headers.get("retry-after").is_none(),
        "there is nothing left to wait for"
    );
    assert_eq!(later.header("idempotency-replayed"), "true");
    assert!(
        pending.headers.get("idempotency-replayed").is_none(),
        "the first answer is no replay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_request_died_is_in_flight_until_its_lease_ends_and_then_answered() {
    let mut stack = Stack::with(&[
        ("DOWNSTREAM_TIMEOUT_MS", "500"),
        ("VALERIX_FAILPOINT", "order.reserved=abort"),
    ])
    .await;
    let request = [("idempotency-key", "k")];
    let died = stack
        .order
        .try_request(
            Method::POST,
            "/orders",
            &request,
            Some(&body("PROD-001", 1)),
        )
        .await;
    assert!(died.is_err(), "{died:?}");
    stack.order = stack.start_order_replica().await;
    keyed(&stack.order, "k", &body("PROD-001", 1))
        .await
        .assert_problem(409, "idempotency-key-in-flight");
    stack.wait_until_settled().await;
    let first = keyed(&stack.order, "k", &body("PROD-001", 1)).await;
    assert_eq!(
        (first.status.as_u16(), &first.json()["status"]),
        (201, &json!("CONFIRMED"))
    );
    assert_eq!(
        keyed(&stack.order, "k", &body("PROD-001", 1)).await.json(),
        first.json()
    );
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_key_is_a_400_that_names_the_header() {
    let stack = Stack::start().await;
    let long = "x".repeat(256);
    for key in ["", "\"\"", "\"open", "a\tb", &long] {
        let problem = keyed(&stack.order, key, &body("PROD-001", 1))
            .await
            .assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "idempotency-key");
    }
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_are_forgotten_and_can_be_used_again() {
    let short = [
        ("IDEMPOTENCY_KEY_TTL_SECONDS", "1"),
        ("RECOVERY_BOUND_SECONDS", "1"),
    ];
    let stack = Stack::with(&short).await;
    assert_eq!(
        keyed(&stack.order, "k", &body("PROD-001", 1)).await.status,
        201
    );
    let kept = "SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL";
    eventually("the key to be forgotten", async || {
        (stack.database.count(kept).await == 0).then_some(())
    })
    .await;
    assert_eq!(
        keyed(&stack.order, "k", &body("PROD-001", 2)).await.status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_order_that_is_not_settled_is_never_forgotten() {
    let short = [
        ("IDEMPOTENCY_KEY_TTL_SECONDS", "1"),
        ("RECOVERY_BOUND_SECONDS", "1"),
        ("DOWNSTREAM_TIMEOUT_MS", "300"),
    ];
    let stack = Stack::with(&short).await;
    assert_eq!(
        keyed(&stack.order, "settled", &body("PROD-001", 1))
            .await
            .status,
        201
    );
    stack.payment.set_latency(true, 30_000).await;
    let pending = keyed(&stack.order, "owing", &body("PROD-001", 1)).await;
    assert_eq!(pending.status, 202);
    // It expires, and owes a refund for as long as payment is silent.
    let keys = "SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL";
    let expired = "SELECT count(*) FROM orders WHERE failure_reason = 'expired' AND refund_owed";
    eventually(
        "the order to expire, and the other key to be forgotten",
        async || {
            let (expired, keys) = (
                stack.database.count(expired).await,
                stack.database.count(keys).await,
            );
            ((expired, keys) == (1, 1)).then_some(())
        },
    )
    .await;
    let again = keyed(&stack.order, "owing", &body("PROD-001", 1))
        .await
        .assert_problem(409, "expired");
    assert_eq!(again["order_id"], pending.json()["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_past_the_recovery_bound_fails_and_keeps_nothing() {
    let stack = Stack::with(&[
        ("DOWNSTREAM_TIMEOUT_MS", "300"),
        ("RECOVERY_BOUND_SECONDS", "1"),
    ])
    .await;
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
        "the void is owed while payment is silent"
    );
    stack.payment.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    let late = json!({"order_id": order.json()["id"]});
    assert_eq!(
        stack.payment.post("/payments", &late).await.status,
        402,
        "a late charge finds the void"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn work_whose_deadline_has_passed_is_refused_before_its_transaction() {
    let stack = Stack::start().await;
    let reserve = body("PROD-001", 1);
    let order = json!({"order_id": "0d5c4a44-0f9b-4a52-9f0e-7a4a6f2e4a11"}).to_string();
    let late = [("x-deadline-ms", "0")];
    for (service, path, body) in [
        (&stack.inventory, "/inventory/reserve", &reserve),
        (&stack.inventory, "/inventory/release", &order),
        (&stack.payment, "/payments", &order),
        (&stack.payment, "/payments/void", &order),
    ] {
        service
            .request(Method::POST, path, &late, Some(body))
            .await
            .assert_problem(503, "deadline-passed");
        let nonsense = service
            .request(Method::POST, path, &[("x-deadline-ms", "soon")], Some(body))
            .await;
        assert_eq!(
            nonsense.assert_problem(400, "invalid-request")["errors"][0]["field"],
            "x-deadline-ms"
        );
    }
    // Time spent with the gremlin counts.
    stack.inventory.set_latency(true, 300).await;
    let slow = [("x-deadline-ms", "200")];
    let answer = stack
        .inventory
        .request(Method::POST, "/inventory/reserve", &slow, Some(&reserve))
        .await;
    answer.assert_problem(503, "deadline-passed");
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
async fn an_open_breaker_answers_at_once_and_closes_when_the_dependency_is_back() {
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "400")]).await;
    stack.inventory.set_latency(true, 30_000).await;
    join_all((0..12).map(|_| stack.place("PROD-001", 1))).await;
    let open =
        r#"valerix_breaker_state{dependency="inventory-service",route="reserve",state="open"} 1"#;
    eventually("an answer without a wait", async || {
        let answer = stack.place("PROD-001", 1).await;
        assert_eq!(answer.status, 202);
        let is_open = stack.order.get("/metrics").await.text.contains(open);
        (is_open && answer.took < Duration::from_millis(200)).then_some(())
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
async fn a_dependency_that_is_just_restarting_is_tried_again_at_once() {
    let mut stack = Stack::start().await;
    stack.inventory.process.kill().await.unwrap();
    let order = stack.place("PROD-001", 1).await;
    assert_eq!(order.status, 202);
    assert!(
        order.took < Duration::from_secs(1),
        "refused connections are not waited for: {:?}",
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
async fn survives(point: &str, action: &str) {
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
    stack
        .database
        .execute("UPDATE inventory SET stock = 100000, stocked = 100000")
        .await;
    // Some are confirmed, some declined; then payment is silent, and some expire on a void; what
    // died is started again.
    let started = Instant::now();
    for round in 0.. {
        let silent = round % 3 == 1;
        if silent {
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
            let age = "UPDATE orders SET created_at = created_at - interval '2 hours' WHERE status LIKE 'PENDING%'";
            stack.database.execute(age).await;
        }
        if silent {
            try_latency(&stack.payment, false).await;
        }
        let reached = stack
            .lines()
            .iter()
            .any(|line| line.contains("crash point reached"));
        stack.restart_ended().await;
        if reached && round >= 3 {
            break;
        }
        assert!(
            started.elapsed() < WAIT_TIMEOUT,
            "{plan}: the point was never reached"
        );
    }
    stack.restart_until_settled(&plan).await;
    stack.assert_clean_audit().await;
}

/// The service may be dead at the moment.
async fn try_latency(service: &Service, enabled: bool) {
    let switch = json!({"enabled": enabled, "delay_ms": 600}).to_string();
    let _ = service
        .try_request(Method::POST, "/gremlin/latency", &[], Some(&switch))
        .await;
}

async fn all_survive(action: &str) {
    // A few at a time: each has three processes of its own.
    let all = [
        order::FAILPOINTS,
        inventory::FAILPOINTS,
        payment::FAILPOINTS,
    ]
    .concat();
    for points in all.chunks(4) {
        join_all(points.iter().map(|point| survives(point, action))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failpoint_is_survived_when_the_process_aborts() {
    all_survive("abort").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failpoint_is_survived_when_the_process_stalls_and_wakes_late() {
    // Longer than a request's lease (two steps of 300 ms and 2 s): it wakes to find itself
    // overtaken.
    all_survive("stall:3500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_finds_what_is_wrong() {
    let stack = Stack::start().await;
    for _ in 0..3 {
        assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    }
    stack.place("PROD-404", 1).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    let confirmed = "(SELECT id FROM orders WHERE status = 'CONFIRMED' ORDER BY id LIMIT 1)";
    let failed = "(SELECT id FROM orders WHERE status = 'FAILED')";
    for (break_it, mend_it, rule) in [
        (
            "UPDATE inventory SET stock = stock - 1 WHERE product_id = 'PROD-001'",
            "UPDATE inventory SET stock = stock + 1 WHERE product_id = 'PROD-001'",
            "stock-conserved",
        ),
        (
            "UPDATE inventory SET stock = stock - 1, reserved = reserved + 1 WHERE product_id = 'PROD-001'",
            "UPDATE inventory SET stock = stock + 1, reserved = reserved - 1 WHERE product_id = 'PROD-001'",
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
            "INSERT INTO orders (product_id, quantity, created_at, lease_until) VALUES ('PROD-001', 1, now() - interval '2 hours', now() + interval '1 hour')",
            "DELETE FROM orders WHERE status = 'PENDING'",
            "finished-in-time",
        ),
    ] {
        stack.database.execute(break_it).await;
        let audit = stack.audit().await.unwrap();
        let broken: Vec<_> = audit
            .invariants
            .iter()
            .filter(|i| i.violations > 0)
            .map(|i| i.name.as_str())
            .collect();
        assert!(
            !audit.clean && broken.contains(&rule),
            "{break_it}: {audit}"
        );
        stack.database.execute(mend_it).await;
        assert!(stack.audit().await.unwrap().clean, "{mend_it}");
    }
    // What the schema forbids is found too once the constraint is gone.
    stack.database.execute("ALTER TABLE payments DROP CONSTRAINT payments_once_per_order; INSERT INTO payments (order_id, status) SELECT order_id, 'FAILED' FROM payments LIMIT 1").await;
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
async fn the_audit_command_tells_by_its_exit_code() {
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
    let wrong = Service::start(
        "order",
        free_port(),
        &[
            ("DATABASE_URL", stack.database.url()),
            ("VALERIX_FAILPOINT", "nowhere=abort".to_owned()),
        ],
    );
    let mut wrong = wrong;
    assert_eq!(wrong.process.ended().await.unwrap().code(), Some(2));
}
