//! While inventory or payment fails: the answers to the client, and the rows that are stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::faulty_service::{ALL, FaultyService};
use crate::harness::{LONG_STEPS, Response, Service, Stack, TestDatabase, eventually, free_port};

/// The default timeout of a saga step. A call that is not delayed takes less, also on a loaded
/// machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

async fn order_service(database: &TestDatabase, inventory: &str, payment: &str) -> Service {
    let env = [
        ("DATABASE_URL", database.url()),
        ("INVENTORY_SERVICE_URL", inventory.to_owned()),
        ("PAYMENT_SERVICE_URL", payment.to_owned()),
    ];
    let order = Service::start("order", free_port(), &env);
    order.wait_until_ready().await;
    order
}

#[track_caller]
fn assert_pending(response: &Response, status: &str, limit: Duration) {
    assert_eq!(response.status, 202, "{response:?}");
    let body = response.json();
    assert_eq!(
        (&body["status"], &body["message"]),
        (&json!(status), &json!("Order is being processed"))
    );
    assert_eq!(
        response.header("location"),
        format!("/orders/{}", body["id"].as_str().unwrap())
    );
    assert!(response.header("retry-after").parse::<u32>().is_ok());
    assert!(
        response.took < limit,
        "{:?} is longer than {limit:?}",
        response.took
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_accepted_under_each_fault_of_inventory() {
    let stack = Stack::start().await;
    for fault in ALL {
        let faulty = FaultyService::start(fault).await;
        let order = order_service(&stack.database, &faulty.url, &stack.payment.url).await;
        let response = order
            .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
            .await;
        assert_pending(&response, "PENDING_INVENTORY", STEP_TIMEOUT * 2);
        assert_eq!(
            response.took >= STEP_TIMEOUT,
            fault.needs_timeout(),
            "{fault:?} took {:?}",
            response.took
        );
    }
    // The replica with the healthy inventory finishes all orders.
    stack.wait_until_settled().await;
    let confirmed = stack
        .database
        .count("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
        .await;
    assert_eq!(usize::try_from(confirmed), Ok(ALL.len()));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_accepted_under_each_fault_of_payment_and_its_stock_is_released() {
    let stack = Stack::start().await;
    for fault in ALL {
        let faulty = FaultyService::start(fault).await;
        let order = order_service(&stack.database, &stack.inventory.url, &faulty.url).await;
        let response = order
            .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
            .await;
        assert_pending(&response, "PENDING_PAYMENT", STEP_TIMEOUT * 2);
        assert_eq!(
            response.took >= STEP_TIMEOUT,
            fault.needs_timeout(),
            "{fault:?} took {:?}",
            response.took
        );
        let id = response.json()["id"].as_str().unwrap().to_owned();
        let held =
            format!("SELECT count(*) FROM reservations WHERE order_id = '{id}' AND state = 'HELD'");
        assert_eq!(stack.database.count(&held).await, 0, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_at_most_two_step_timeouts_and_a_margin() {
    let stack = Stack::start().await;
    // Inventory answers the reserve late, payment does not answer, and then inventory does not
    // answer the release. A third timeout would exceed the limit.
    let hang = |route: &str| json!({"kind": "hang", "route": route, "max_fires": 1});
    stack.inventory.set_latency(true, 1400).await;
    stack.payment.add_gremlin_rule(hang("/payments")).await;
    stack
        .inventory
        .add_gremlin_rule(hang("/inventory/release"))
        .await;
    let response = stack.place("PROD-001", 1).await;
    assert_pending(
        &response,
        "PENDING_PAYMENT",
        STEP_TIMEOUT * 2 + Duration::from_millis(1300),
    );
    stack.inventory.set_latency(true, 5000).await;
    assert_pending(
        &stack.place("PROD-001", 1).await,
        "PENDING_INVENTORY",
        STEP_TIMEOUT * 2,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_stay_fast_while_orders_wait_for_inventory() {
    let stack = Stack::with(&[("DATABASE_POOL_SIZE", "2"), LONG_STEPS]).await;
    stack.inventory.set_latency(true, 30_000).await;
    let is_answered = AtomicBool::new(false);
    let waiting = join_all((0..20).map(async |_| {
        let response = stack.place("PROD-001", 1).await;
        is_answered.store(true, Ordering::Relaxed);
        response
    }));
    let others = async {
        let stored = "SELECT count(*) FROM orders";
        eventually("the orders to wait", async || {
            (stack.database.count(stored).await == 20).then_some(())
        })
        .await;
        for _ in 0..10 {
            assert_eq!(stack.order.get("/orders").await.status, 200);
        }
        assert!(
            !is_answered.load(Ordering::Relaxed),
            "a database connection is held during a call"
        );
    };
    let (responses, ()) = tokio::join!(waiting, others);
    assert!(
        responses.iter().all(|response| response.status == 202),
        "{responses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_an_unreachable_dependency_and_readiness_ignores_it() {
    let mut stack = Stack::start().await;
    stack.inventory.process.kill().await.unwrap();
    let health = stack.order.get("/health").await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(
        health["dependencies"],
        json!({
            "database": "connected",
            "inventory-service": "unreachable",
            "payment-service": "reachable",
        })
    );
    assert_eq!(stack.order.get("/readyz").await.status, 200);
    stack.payment.set_latency(true, 30_000).await;
    let slow = stack.order.get("/health").await;
    assert!(slow.took < Duration::from_secs(10), "{:?}", slow.took);
    assert_eq!(
        slow.json()["dependencies"]["payment-service"],
        "unreachable"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_table_is_missing_is_live_but_not_ready() {
    let stack = Stack::start().await;
    stack
        .database
        .execute("ALTER TABLE inventory RENAME TO inventory_renamed")
        .await;
    let health = stack.inventory.get("/health").await;
    assert_eq!(
        (health.status.as_u16(), &health.json()["status"]),
        (200, &json!("degraded"))
    );
    assert_eq!(health.json()["dependencies"]["database"], "disconnected");
    stack
        .inventory
        .get("/readyz")
        .await
        .assert_problem(503, "not-ready");
    assert_eq!(stack.inventory.get("/livez").await.status, 200);
}

/// Makes every commit fail that follows this kind of statement on a table. The statement itself
/// succeeds.
async fn make_commits_fail(stack: &Stack, table: &str, statement: &str) {
    let trigger = format!(
        "CREATE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'not now'; END $$;
         CREATE CONSTRAINT TRIGGER fail_commit AFTER {statement} ON {table}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_commit()"
    );
    stack.database.execute(&trigger).await;
}

async fn let_commits_succeed(stack: &Stack) {
    stack
        .database
        .execute("DROP FUNCTION fail_commit CASCADE")
        .await;
}

/// The server may send a statement's rows and fail in the commit that follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_reported_only_after_its_commit() {
    let stack = Stack::start().await;
    make_commits_fail(&stack, "orders", "INSERT").await;
    stack
        .place("PROD-001", 1)
        .await
        .assert_problem(503, "database-unavailable");
    let_commits_succeed(&stack).await;
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);

    make_commits_fail(&stack, "orders", "UPDATE").await;
    let unconfirmed = stack.place("PROD-001", 1).await;
    assert_eq!(
        (unconfirmed.status.as_u16(), &unconfirmed.json()["status"]),
        (202, &json!("PENDING"))
    );
    let_commits_succeed(&stack).await;

    make_commits_fail(&stack, "payments", "INSERT").await;
    let unpaid = stack.place("PROD-001", 1).await;
    assert_eq!(
        (unpaid.status.as_u16(), &unpaid.json()["status"]),
        (202, &json!("PENDING_PAYMENT"))
    );
    let_commits_succeed(&stack).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    let confirmed = "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'";
    assert_eq!(stack.database.count(confirmed).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_beyond_the_limit_are_rejected_at_once_and_the_overload_is_logged_once() {
    const LIMIT: usize = 512;
    const EXCESS: usize = 88;
    let stack = Stack::start().await;
    let logged = |text: &str| {
        let lines = stack.order.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    };
    // The lock keeps every order from being stored. Each request stays in progress until it times
    // out on the lock.
    let locker = stack.database.session().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let is_over = AtomicBool::new(false);
    let clients = join_all((0..LIMIT + EXCESS).map(|_| async {
        let mut rejected = 0;
        while !is_over.load(Ordering::Relaxed) {
            let response = stack.place("PROD-001", 1).await;
            assert_eq!(response.status, 503, "{response:?}");
            assert!(response.header("retry-after").parse::<u32>().is_ok());
            if response.json()["code"] == "overloaded" {
                rejected += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        rejected
    }));
    let overload = async {
        eventually("orders to be rejected", async || {
            (rejected_by_overload(&stack).await >= EXCESS).then_some(())
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (rejected, ()) = tokio::join!(clients, overload);
    assert_eq!(
        rejected.iter().sum::<usize>(),
        rejected_by_overload(&stack).await
    );
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        stack.database.count("SELECT count(*) FROM orders").await,
        0,
        "each response said that nothing was stored"
    );
    stack.place("PROD-001", 1).await;
    let ended = "overload ended: accepting orders";
    stack.order.wait_for_line(ended).await;
    assert_eq!(
        (logged("overload started: rejecting orders"), logged(ended)),
        (1, 1)
    );
    assert_eq!(
        logged("\"code\":\"overloaded\""),
        0,
        "no line for each rejected order"
    );
    stack.assert_clean_audit().await;
}

async fn rejected_by_overload(stack: &Stack) -> usize {
    let metrics = stack.order.get("/metrics").await.text;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("valerix_requests_shed_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_confirmed_at_once_when_a_slow_dependency_has_recovered() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    stack.inventory.set_latency(true, 5000).await;
    for _ in 0..2 {
        assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    }
    let timeouts =
        "valerix_dependency_calls_total{dependency=\"inventory-service\",outcome=\"timeout\"}";
    // Half of ten calls, but too few calls in all to open the circuit breaker.
    eventually("five calls to time out", async || {
        (stack.order.metric(timeouts).await >= 5.0).then_some(())
    })
    .await;
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    let responses = join_all((0..10).map(|_| stack.place("PROD-001", 1))).await;
    assert!(
        responses.iter().all(|response| response.status == 201),
        "{responses:?}"
    );
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let changed = stack
        .order
        .lines()
        .into_iter()
        .find(|line| line.contains("breaker changed"));
    assert_eq!(changed, None, "successful calls do not open the breaker");
}
