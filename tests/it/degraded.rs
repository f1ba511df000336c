//! What the customer sees while inventory or payment misbehaves, and what is in the books then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::fake::{ALL, Fake};
use crate::harness::{Answer, Service, Stack, TestDatabase, eventually, free_port};

/// Short, so that the whole table takes seconds; what counts is the ratio of the times.
const STEP: Duration = Duration::from_millis(600);
const STEP_MS: &str = "600";

async fn order_service(database: &TestDatabase, inventory: &str, payment: &str) -> Service {
    let env = [
        ("DATABASE_URL", database.url()),
        ("INVENTORY_SERVICE_URL", inventory.to_owned()),
        ("PAYMENT_SERVICE_URL", payment.to_owned()),
        ("DOWNSTREAM_TIMEOUT_MS", STEP_MS.to_owned()),
    ];
    let order = Service::start("order", free_port(), &env);
    order.ready().await;
    order
}

#[track_caller]
fn is_pending(answer: &Answer, status: &str, most: Duration) {
    assert_eq!(answer.status, 202, "{answer:?}");
    let body = answer.json();
    assert_eq!(
        (&body["status"], &body["message"]),
        (&json!(status), &json!("Order is being processed"))
    );
    assert_eq!(
        answer.header("location"),
        format!("/orders/{}", body["id"].as_str().unwrap())
    );
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(
        answer.took < most,
        "{:?} is longer than {most:?}",
        answer.took
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_taken_however_inventory_misbehaves() {
    let stack = Stack::start().await;
    for behaviour in ALL {
        let fake = Fake::start(behaviour).await;
        let order = order_service(&stack.database, &fake.url, &stack.payment.url).await;
        let answer = order
            .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
            .await;
        is_pending(&answer, "PENDING_INVENTORY", STEP * 2);
        assert_eq!(
            answer.took >= STEP,
            behaviour.is_silent(),
            "{behaviour:?} took {:?}",
            answer.took
        );
    }
    // The replica whose inventory is well finishes them all.
    stack.settled().await;
    let confirmed = stack
        .database
        .count("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
        .await;
    assert_eq!(usize::try_from(confirmed), Ok(ALL.len()));
    stack.balances().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_taken_however_payment_misbehaves_and_its_stock_goes_back() {
    let stack = Stack::start().await;
    for behaviour in ALL {
        let fake = Fake::start(behaviour).await;
        let order = order_service(&stack.database, &stack.inventory.url, &fake.url).await;
        let answer = order
            .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
            .await;
        is_pending(&answer, "PENDING_PAYMENT", STEP * 2);
        assert_eq!(
            answer.took >= STEP,
            behaviour.is_silent(),
            "{behaviour:?} took {:?}",
            answer.took
        );
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let held =
            format!("SELECT count(*) FROM reservations WHERE order_id = '{id}' AND state = 'HELD'");
        assert_eq!(stack.database.count(&held).await, 0, "{behaviour:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_within_two_steps_and_a_margin_whatever_is_silent() {
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", STEP_MS)]).await;
    // Inventory answers the reserve late, payment never, and the roll-back finds inventory silent.
    stack.inventory.latency(true, 550).await;
    stack.payment.latency(true, 5000).await;
    let answer = stack.place("PROD-001", 1).await;
    is_pending(
        &answer,
        "PENDING_PAYMENT",
        STEP * 2 + Duration::from_millis(400),
    );
    stack.inventory.latency(true, 5000).await;
    is_pending(
        &stack.place("PROD-001", 1).await,
        "PENDING_INVENTORY",
        STEP * 2,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_stay_fast_while_orders_wait_for_inventory() {
    let stack = Stack::with(&[("DATABASE_POOL_SIZE", "2")]).await;
    stack.inventory.latency(true, 5000).await;
    let waiting = futures_util::future::join_all((0..20).map(|_| stack.place("PROD-001", 1)));
    let others = async {
        for _ in 0..10 {
            let list = stack.order.get("/orders").await;
            assert_eq!(list.status, 200);
            assert!(
                list.took < Duration::from_secs(1),
                "{:?}: a connection is held across a call",
                list.took
            );
        }
    };
    let (answers, ()) = tokio::join!(waiting, others);
    assert!(
        answers.iter().all(|answer| answer.status == 202),
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_what_is_gone_and_readiness_does_not_depend_on_it() {
    let mut stack = Stack::start().await;
    stack.inventory.process.kill().await.unwrap();
    let health = stack.order.get("/health").await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(
        health["dependencies"],
        json!({"database": "connected", "inventory-service": "unreachable", "payment-service": "reachable"})
    );
    assert_eq!(stack.order.get("/readyz").await.status, 200);
    stack.payment.latency(true, 5000).await;
    let slow = stack.order.get("/health").await;
    assert!(slow.took < Duration::from_secs(2), "{:?}", slow.took);
    assert_eq!(
        slow.json()["dependencies"]["payment-service"],
        "unreachable"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_table_it_needs_a_service_is_up_but_not_ready() {
    let stack = Stack::start().await;
    stack
        .database
        .execute("ALTER TABLE inventory RENAME TO elsewhere")
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
        .is_problem(503, "not-ready");
    assert_eq!(stack.inventory.get("/livez").await.status, 200);
}

/// Makes every commit fail that did this to a table: its statement itself goes well.
async fn commits_fail(stack: &Stack, table: &str, deed: &str) {
    let trigger = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
         CREATE CONSTRAINT TRIGGER refuse AFTER {deed} ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    stack.database.execute(&trigger).await;
}

async fn commits_go_well_again(stack: &Stack) {
    stack.database.execute("DROP FUNCTION refuse CASCADE").await;
}

/// A server that dies while it commits may have sent the rows already: they are no promise.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_change_before_it_is_committed() {
    let stack = Stack::start().await;
    commits_fail(&stack, "orders", "INSERT").await;
    stack
        .place("PROD-001", 1)
        .await
        .is_problem(503, "database-unavailable");
    commits_go_well_again(&stack).await;
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);

    commits_fail(&stack, "orders", "UPDATE").await;
    let unconfirmed = stack.place("PROD-001", 1).await;
    assert_eq!(
        (unconfirmed.status.as_u16(), &unconfirmed.json()["status"]),
        (202, &json!("PENDING"))
    );
    commits_go_well_again(&stack).await;

    commits_fail(&stack, "payments", "INSERT").await;
    let unpaid = stack.place("PROD-001", 1).await;
    assert_eq!(
        (unpaid.status.as_u16(), &unpaid.json()["status"]),
        (202, &json!("PENDING_PAYMENT"))
    );
    commits_go_well_again(&stack).await;
    stack.settled().await;
    stack.balances().await;
    let confirmed = "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'";
    assert_eq!(stack.database.count(confirmed).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_beyond_the_limit_are_rejected_at_once_and_the_overload_is_logged_once() {
    const LIMIT: usize = 512;
    const MORE: usize = 88;
    let stack = Stack::start().await;
    let logged = |words: &str| {
        stack
            .order
            .lines()
            .iter()
            .filter(|line| line.contains(words))
            .count()
    };
    // No order can be stored: each request stays in progress until it has waited long enough for
    // the lock.
    let locker = stack.database.session().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let is_over = AtomicBool::new(false);
    let clients = join_all((0..LIMIT + MORE).map(|_| async {
        let mut rejected = 0;
        while !is_over.load(Ordering::Relaxed) {
            let answer = stack.place("PROD-001", 1).await;
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").parse::<u32>().is_ok());
            if answer.json()["code"] == "overloaded" {
                rejected += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        rejected
    }));
    let overload = async {
        eventually("orders to be rejected", async || {
            (shed(&stack).await >= MORE).then_some(())
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (rejected, ()) = tokio::join!(clients, overload);
    assert_eq!(rejected.iter().sum::<usize>(), shed(&stack).await);
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        stack.database.count("SELECT count(*) FROM orders").await,
        0,
        "each was told that nothing was stored"
    );
    stack.place("PROD-001", 1).await;
    assert_eq!(
        (
            logged("turning orders away"),
            logged("orders are taken again")
        ),
        (1, 1)
    );
    assert_eq!(logged("\"code\":\"overloaded\""), 0, "no line for each");
    stack.balances().await;
}

async fn shed(stack: &Stack) -> usize {
    let metrics = stack.order.get("/metrics").await.text;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("valerix_requests_shed_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_slow_spell_is_over_no_order_is_told_to_wait() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    stack.inventory.latency(true, 5000).await;
    for _ in 0..2 {
        assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    }
    let timeouts =
        "valerix_dependency_calls_total{dependency=\"inventory-service\",outcome=\"timeout\"}";
    // Half of ten calls, but too few by themselves to open the breaker.
    eventually("five calls in vain", async || {
        (stack.order.metric(timeouts).await >= 5.0).then_some(())
    })
    .await;
    stack.inventory.latency(false, 0).await;
    stack.settled().await;
    let answers = join_all((0..10).map(|_| stack.place("PROD-001", 1))).await;
    assert!(
        answers.iter().all(|answer| answer.status == 201),
        "{answers:?}"
    );
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let changed = stack
        .order
        .lines()
        .into_iter()
        .find(|line| line.contains("breaker changed"));
    assert_eq!(changed, None, "good calls open nothing");
}
