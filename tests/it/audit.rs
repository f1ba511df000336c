//! The audit of a live database: what it lists, what it cannot read, and how it is shared.

use std::process::Output;

use chrono::Utc;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;
use uuid::Uuid;
use valerix::audit::{Audit, Invariant};

use crate::harness::{PROGRAM, Stack, eventually, free_port};

/// The lease keeps recovery from settling what the test made the order owe.
pub const LEASED: &str = "lease_until = now() + interval '1 hour'";

pub async fn audit_command(stack: &Stack, arguments: &[&str]) -> Output {
    let mut audit_command = Command::new(PROGRAM);
    audit_command
        .args(["audit", "--database-url", &stack.database.url()])
        .args(arguments)
        .output()
        .await
        .unwrap()
}

#[track_caller]
pub fn invariant<'a>(audit: &'a Audit, name: &str) -> &'a Invariant {
    let named = audit
        .invariants
        .iter()
        .find(|invariant| invariant.name == name);
    named.unwrap_or_else(|| panic!("no {name}: {audit}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_an_obligation_is_read_from_owed_since() {
    let stack = Stack::start().await;
    let id = stack.place("PROD-404", 1).await.json()["order_id"]
        .as_str()
        .unwrap()
        .to_owned();
    stack.wait_until_settled().await;
    let owes = format!(
        "UPDATE orders SET refund_owed = true, owed_since = now(),
             updated_at = now() - interval '2 hours', {LEASED}
         WHERE id = '{id}'"
    );
    stack.database.execute(&owes).await;
    let audit = stack.audit().await.unwrap();
    let Invariant {
        checked,
        violations,
        ..
    } = invariant(&audit, "obligations-met-in-time");
    assert!(audit.clean && (*checked, *violations) == (1, 0), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_state_is_reported_with_its_kind_of_row() {
    let stack = Stack::start().await;
    let id = stack.place("PROD-001", 1).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let newer = "ALTER DOMAIN reservation_state DROP CONSTRAINT reservation_state_known;
                 UPDATE reservations SET state = 'NEWER'";
    stack.database.execute(newer).await;
    let audit = stack.audit().await.unwrap();
    let examples = &invariant(&audit, "states-are-known").examples;
    assert_eq!(*examples, [format!("reservation of order {id} is NEWER")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_without_an_order_are_listed_and_payments_without_one_are_violations() {
    let stack = Stack::start().await;
    let id = stack.place("PROD-001", 3).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..21 {
        let without_order = json!({"product_id": "PROD-002", "quantity": 2});
        assert_eq!(
            stack
                .inventory
                .post("/inventory/reserve", &without_order)
                .await
                .status,
            200
        );
    }
    let audit = stack.audit().await.unwrap();
    let listed = &audit.holds_without_order;
    assert!(
        audit.clean && audit.orders.reservations_without_order == 21 && listed.len() == 20,
        "{audit}"
    );
    assert!(
        listed
            .iter()
            .all(|hold| hold.product_id == "PROD-002" && hold.quantity == 2),
        "{audit}"
    );
    let output = audit_command(&stack, &[]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = format!("order {}: 2 of PROD-002", listed[0].order_id);
    assert!(
        output.status.success() && text.contains(&first) && text.contains("the first 20"),
        "{text}"
    );

    // A reservation of the list can be released by its order id.
    let release = json!({"order_id": listed[0].order_id});
    assert_eq!(
        stack
            .inventory
            .post("/inventory/release", &release)
            .await
            .status,
        200
    );
    let release_all = "UPDATE reservations SET state = 'RELEASED' WHERE product_id = 'PROD-002';
        UPDATE inventory SET stock = stocked, reserved = 0 WHERE product_id = 'PROD-002'";
    stack.database.execute(release_all).await;
    stack.assert_clean_audit().await;

    stack
        .database
        .execute(&format!("DELETE FROM orders WHERE id = '{id}'"))
        .await;
    let unknown = Uuid::new_v4();
    assert_eq!(
        stack
            .payment
            .post("/payments", &json!({"order_id": unknown}))
            .await
            .status,
        201
    );
    let output = audit_command(&stack, &["--json"]).await;
    let audit: Audit = serde_json::from_slice(&output.stdout).unwrap();
    let mut examples = [id.clone(), unknown.to_string()];
    examples.sort_unstable();
    assert_eq!(output.status.code(), Some(1), "{audit}");
    assert_eq!(
        invariant(&audit, "payment-has-order").examples,
        examples,
        "{audit}"
    );
    let [hold] = audit.holds_without_order.as_slice() else {
        panic!("{audit}")
    };
    assert_eq!(
        (
            hold.order_id.to_string(),
            hold.product_id.as_str(),
            hold.quantity
        ),
        (id, "PROD-001", 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_integers_of_a_column_are_audited_without_overflow() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let max = i64::from(i32::MAX);
    let set_max = format!(
        "ALTER DOMAIN stock_units DROP CONSTRAINT stock_units_range;
         UPDATE inventory SET stock = {max}, shipped = {max}, stocked = {max}
             WHERE product_id = 'PROD-001'"
    );
    stack.database.execute(&set_max).await;
    let audit = stack
        .audit()
        .await
        .expect("the audit handles any value of the columns");
    assert_eq!(
        invariant(&audit, "stock-conserved").examples,
        ["PROD-001"],
        "{audit}"
    );
    let product = audit
        .products
        .iter()
        .find(|product| product.product_id == "PROD-001")
        .unwrap();
    assert_eq!(
        (product.available, product.held, product.shipped),
        (max, 1, max)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_an_emptied_table_is_not_configured_rather_than_clean() {
    let stack = Stack::start().await;
    stack
        .place("PROD-404", 1)
        .await
        .assert_problem(422, "unknown-product");
    stack.wait_until_settled().await;
    stack.database.execute("TRUNCATE reservations").await;
    // The result of a slow audit from before is returned for a while.
    let response = eventually("a new audit", async || {
        let response = stack.order.get("/audit").await;
        (response.status != 200).then_some(response)
    })
    .await;
    let problem = response.assert_problem(501, "audit-not-configured");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("no reservations"),
        "{problem}"
    );
    assert_eq!(audit_command(&stack, &[]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_amount_that_is_stored_with_the_order_is_charged() {
    let stack = Stack::start().await;
    stack
        .database
        .execute("ALTER TABLE orders ALTER COLUMN amount SET DEFAULT 12.34")
        .await;
    let id = stack.place("PROD-001", 1).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        stack
            .payment
            .get(&format!("/payments?order_id={id}"))
            .await
            .json()["amount"],
        12.34
    );
    // Recovery reads the amount from the order's row.
    stack.inventory.set_latency(true, 4000).await;
    let pending = stack.place("PROD-001", 1).await;
    assert_eq!(pending.status, StatusCode::ACCEPTED);
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    let id = pending.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        stack
            .payment
            .get(&format!("/payments?order_id={id}"))
            .await
            .json()["amount"],
        12.34
    );
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_an_audit_of_a_locked_table_are_all_answered_and_the_next_audit_is_new() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let session = stack.database.session().await;
    session
        .batch_execute("BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    // The client fails the test when a response takes longer than 30 s.
    let all = join_all((0..10).map(|_| stack.order.get("/audit")));
    let waiting = async {
        let audits = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND query LIKE 'LOCK TABLE %'";
        eventually("an audit to wait", async || {
            let waiting = stack.database.count(audits).await;
            assert!(waiting <= 1, "{waiting} audits run at the same time");
            (waiting == 1).then_some(())
        })
        .await;
    };
    let (responses, ()) = tokio::join!(all, waiting);
    for response in responses {
        response.assert_problem(503, "audit-unavailable");
        assert!(
            response.header("retry-after").parse::<u32>().is_ok(),
            "{response:?}"
        );
    }
    let logged = eventually("a log line for each", async || {
        let lines = stack.order.lines().into_iter();
        let logged: Vec<_> = lines
            .filter(|line| line.contains("audit-unavailable"))
            .collect();
        (logged.len() == 10).then_some(logged)
    })
    .await;
    assert!(
        logged.iter().all(|line| line.contains("lock timeout")),
        "each with the cause: {logged:?}"
    );
    session.batch_execute("ROLLBACK").await.unwrap();

    let requested = Utc::now();
    let audit: Audit = serde_json::from_value(stack.order.get("/audit").await.json()).unwrap();
    assert!(
        audit.clean && audit.at >= requested,
        "{} is older than {requested}",
        audit.at
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_cannot_read_the_tables_exits_with_2() {
    let stack = Stack::start().await;
    stack
        .database
        .execute("ALTER TABLE payments RENAME TO payments_renamed")
        .await;
    let unreadable = audit_command(&stack, &[]).await;
    stack
        .database
        .execute("ALTER TABLE payments_renamed RENAME TO payments")
        .await;
    assert_eq!(unreadable.status.code(), Some(2), "{unreadable:?}");
    assert!(
        unreadable.stdout.is_empty() && !unreadable.stderr.is_empty(),
        "{unreadable:?}"
    );

    let unreachable = format!("postgres://u@127.0.0.1:{}/x", free_port());
    let unreachable = Command::new(PROGRAM)
        .args(["audit", "--database-url", &unreachable])
        .output()
        .await;
    assert_eq!(unreachable.unwrap().status.code(), Some(2));
    assert_eq!(audit_command(&stack, &[]).await.status.code(), Some(0));
}

/// Tables that were just filled have no statistics, from which the planner would see how many rows
/// it joins. With a nested loop this audit takes longer than its statements may.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_many_orders_without_statistics_ends() {
    let stack = Stack::start().await;
    let fill = "
        BEGIN;
        CREATE TEMP TABLE new ON COMMIT DROP AS
            SELECT gen_random_uuid() AS id FROM generate_series(1, 130000);
        INSERT INTO orders (id, product_id, quantity, status)
            SELECT id, 'MANY', 1, 'CONFIRMED' FROM new;
        INSERT INTO order_events (order_id, status, reason, epoch)
            SELECT id, 'CONFIRMED', 'confirmed', 1 FROM new;
        INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
            SELECT id, 1, 'HELD', 'MANY', 1 FROM new;
        INSERT INTO payments (order_id, status) SELECT id, 'SUCCESS' FROM new;
        INSERT INTO inventory (product_id, stock, reserved) VALUES ('MANY', 0, 130000);
        COMMIT";
    let session = stack.database.session().await;
    session.batch_execute(fill).await.unwrap();
    stack.assert_clean_audit().await;
}
