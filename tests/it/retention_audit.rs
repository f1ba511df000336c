//! Audits of separate databases while old orders leave.

use std::process::Output;

use serde_json::json;

use crate::harness::eventually;
use crate::harness::old_orders::old_orders;
use crate::separate_databases::{SeparateStack, assert_clean};

async fn with_old_orders(count: u32) -> SeparateStack {
    let stack = SeparateStack::start().await;
    let statements = old_orders(count);
    for (database, statements) in stack.databases.iter().zip(statements) {
        database.execute(&statements).await;
    }
    stack
}

/// Starts an audit, runs `change` once it has read the orders, and lets it go on.
async fn audit_while(stack: &SeparateStack, change: impl Future<Output = ()>) -> Output {
    let inventory = &stack.databases[1];
    let session = inventory.session().await;
    // An audit waits for this table, and a deletion of old orders does not.
    let lock = "BEGIN; LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE";
    session.batch_execute(lock).await.unwrap();
    let meanwhile = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the audit to wait", async || {
            (inventory.count(waiting).await > 0).then_some(())
        })
        .await;
        change.await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(stack.audit_command(true), meanwhile).0
}

/// Makes steps until a run has ended.
async fn run(stack: &SeparateStack) {
    let mut body = json!({"older_than_days": 30});
    loop {
        let response = stack.order.post("/retention/steps", &body).await;
        assert_eq!(response.status, 200, "{response:?}");
        body["cursor"] = response.json()["next_cursor"].clone();
        if body["cursor"].is_null() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_ignores_orders_that_leave_between_the_snapshots() {
    let stack = with_old_orders(6).await;
    assert_clean(&stack.audit().await);
    let output = audit_while(&stack, run(&stack)).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.starts_with("6 orders: "), "{text}");
    let after = stack.audit().await;
    assert_clean(&after);
    assert_eq!(after.orders.total, 0, "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_ignores_orders_that_begin_to_leave_between_the_snapshots() {
    let stack = with_old_orders(6).await;
    let begin = async {
        let mark = "INSERT INTO leaving_orders (order_id, next_attempt_at)
            SELECT id, now() + interval '1 hour' FROM orders";
        stack.databases[0].execute(mark).await;
        let forget = "WITH gone AS (DELETE FROM reservations RETURNING state, quantity)
            INSERT INTO forgotten_shipments (product_id, quantity)
            SELECT 'PROD-001', sum(quantity) FROM gone WHERE state = 'SHIPPED'";
        stack.databases[1].execute(forget).await;
    };
    let output = audit_while(&stack, begin).await;
    assert!(output.status.success(), "{output:?}");
    let after = stack.audit().await;
    assert_clean(&after);
    assert_eq!(after.orders.leaving, 6, "{after}");
    // The remaining rows of an order that leaves must still agree with how it ended.
    let spoil = "UPDATE payments SET status = 'SUCCESS'";
    stack.databases[2].execute(spoil).await;
    let spoiled = stack.audit().await;
    let violations = |name: &str| {
        let mut all = spoiled.invariants.iter();
        all.find(|invariant| invariant.name == name)
            .unwrap()
            .violations
    };
    assert_eq!(violations("leaving-is-not-contradicted"), 3, "{spoiled}");
    assert_eq!(violations("failed-keeps-nothing"), 3, "{spoiled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_is_clean_while_thousands_of_orders_leave() {
    let stack = with_old_orders(4000).await;
    let audits = async {
        loop {
            let audit = stack.audit().await;
            assert_clean(&audit);
            if audit.orders.total == 0 {
                break;
            }
        }
    };
    tokio::join!(run(&stack), audits);
}
