//! Audits of separate databases. Their snapshots are taken one after another, and orders change
//! between them.

use std::cell::Cell;
use std::process::Output;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::audit::audit_command;
use crate::harness::{Stack, eventually};
use crate::separate_databases::{SeparateStack, assert_clean};

/// SQL, and the database that it is for: 0 is order's, 1 inventory's and 2 payment's.
type Statements = Vec<(usize, String)>;

/// A table whose lock an audit waits for after it has read the orders, and its database.
const LOCKS: [(usize, &str); 2] = [(1, "inventory"), (2, "payments")];

/// Starts an audit, runs the statements once it has read the orders and waits for the locked table,
/// and lets it go on.
async fn audit_while(
    stack: &SeparateStack,
    (locked, table): (usize, &str),
    statements: Statements,
) -> Output {
    let session = stack.databases[locked].session().await;
    session
        .batch_execute(&format!(
            "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
        ))
        .await
        .unwrap();
    let meanwhile = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the audit to wait", async || {
            (stack.databases[locked].count(waiting).await > 0).then_some(())
        })
        .await;
        for (database, statements) in statements {
            if database == locked {
                session.batch_execute(&statements).await.unwrap();
            } else {
                stack.databases[database].execute(&statements).await;
            }
        }
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (output, ()) = tokio::join!(stack.audit_command(true), meanwhile);
    output
}

/// The ids of new orders of which one unit of PROD-001 is held, and which are paid for. There are
/// no other new orders that are confirmed.
async fn confirmed_orders(stack: &SeparateStack, count: usize) -> Vec<String> {
    let mut confirmed = Vec::new();
    while confirmed.len() < count {
        let body = json!({"product_id": "PROD-001", "quantity": 1});
        let id = stack.order.post("/orders", &body).await.order_id();
        // On a loaded machine, recovery ends some of the orders.
        let ended = eventually("the order to end", async || {
            let order = stack.order.order(&id).await;
            (order["settled"] == true).then_some(order)
        })
        .await;
        if ended["status"] == "CONFIRMED" {
            confirmed.push(id);
        }
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_ignores_orders_that_are_confirmed_between_the_snapshots() {
    let stack = SeparateStack::start().await;
    stack.place_orders(9).await;
    stack.wait_until_settled().await;
    for lock in LOCKS {
        let before = stack.audit().await.orders.confirmed;
        let output = audit_while(&stack, lock, statements_of_a_confirmed_order()).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains(&format!(" {before} confirmed")),
            "{output:?}"
        );
        eventually("the next audit to include the order", async || {
            let audit = stack.audit().await;
            assert_clean(&audit);
            (audit.orders.confirmed == before + 1).then_some(())
        })
        .await;
    }
}

/// The statements that the services would run for an order that is confirmed.
fn statements_of_a_confirmed_order() -> Statements {
    let id = Uuid::new_v4();
    let reservation = format!(
        "UPDATE inventory SET stock = stock - 1, reserved = reserved + 1
         WHERE product_id = 'PROD-001';
         INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
         VALUES ('{id}', 1, 'HELD', 'PROD-001', 1)"
    );
    let payment = format!("INSERT INTO payments (order_id, status) VALUES ('{id}', 'SUCCESS')");
    let order = format!(
        "INSERT INTO orders (id, product_id, quantity, status)
         VALUES ('{id}', 'PROD-001', 1, 'CONFIRMED')"
    );
    vec![(1, reservation), (2, payment), (0, order)]
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_ignores_orders_that_are_cancelled_or_fulfilled_between_the_snapshots() {
    let stack = SeparateStack::start().await;
    for lock in LOCKS {
        for change in [cancellation, fulfilment] {
            let id = &confirmed_orders(&stack, 1).await[0];
            let output = audit_while(&stack, lock, change(id)).await;
            assert!(output.status.success(), "{output:?}");
        }
    }
    eventually("an audit after the changes", async || {
        let audit = stack.audit().await;
        assert_clean(&audit);
        (audit.orders.confirmed == 2).then_some(())
    })
    .await;
}

/// The statements that the services run when an order of [`confirmed_orders`] is cancelled.
fn cancellation(id: &str) -> Statements {
    let order = format!(
        "UPDATE orders SET status = 'FAILED', failure_reason = 'cancelled', epoch = epoch + 1
         WHERE id = '{id}'"
    );
    let release = format!(
        "UPDATE inventory SET stock = stock + 1, reserved = reserved - 1
         WHERE product_id = 'PROD-001';
         UPDATE reservations SET state = 'RELEASED' WHERE order_id = '{id}'"
    );
    let refund = format!("UPDATE payments SET status = 'REFUNDED' WHERE order_id = '{id}'");
    vec![(0, order), (1, release), (2, refund)]
}

/// The statements that the services run when an order of [`confirmed_orders`] is fulfilled.
fn fulfilment(id: &str) -> Statements {
    let order =
        format!("UPDATE orders SET fulfilled_at = now(), epoch = epoch + 1 WHERE id = '{id}'");
    let ship = format!(
        "UPDATE inventory SET reserved = reserved - 1, shipped = shipped + 1
         WHERE product_id = 'PROD-001';
         UPDATE reservations SET state = 'SHIPPED' WHERE order_id = '{id}'"
    );
    vec![(0, order), (1, ship)]
}

/// Inventory's tables are in order's database. The audit reads the order and its reservation again
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn audit_ignores_a_cancellation_where_payment_alone_has_its_own_database() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 1).await;
    let session = stack.database.session().await;
    session
        .batch_execute("BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let url = stack.database.url();
    let arguments = ["--payment-database-url", &url];
    let audit = audit_command(&stack, &arguments);
    let meanwhile = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the audit to wait", async || {
            (stack.database.count(waiting).await > 0).then_some(())
        })
        .await;
        for (_, statements) in cancellation(&id) {
            session.batch_execute(&statements).await.unwrap();
        }
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (output, ()) = tokio::join!(audit, meanwhile);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 order: 1 confirmed"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_between_the_snapshots_hides_no_violation() {
    let stack = SeparateStack::start().await;
    for lock in LOCKS {
        let id = &confirmed_orders(&stack, 1).await[0];
        let refunded = format!("UPDATE payments SET status = 'REFUNDED' WHERE order_id = '{id}'");
        let takeover = format!("UPDATE orders SET epoch = epoch + 1 WHERE id = '{id}'");
        let output = audit_while(&stack, lock, vec![(2, refunded), (0, takeover)]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        for name in ["confirmed-is-held-and-paid", "confirmed-is-not-refunded"] {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("✗ {name} ")));
            let line = line.unwrap_or_else(|| panic!("{text}"));
            assert!(line.ends_with("1 checked, 1 violation"), "{text}");
        }
        assert!(text.contains(id), "{text}");
        assert_eq!(output.status.code(), Some(1));
        let repair = format!("UPDATE payments SET status = 'SUCCESS' WHERE order_id = '{id}'");
        stack.databases[2].execute(&repair).await;
        for (database, statements) in cancellation(id) {
            stack.databases[database].execute(&statements).await;
        }
    }
}

/// The order's epoch rises faster than the audit reads it, so the audit cannot say what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_orders_that_never_stop_changing_ends_without_a_result() {
    let stack = SeparateStack::start().await;
    let id = &confirmed_orders(&stack, 1).await[0];
    stack.databases[2]
        .execute("UPDATE payments SET status = 'REFUNDED'")
        .await;
    let takeover = format!("UPDATE orders SET epoch = epoch + 1 WHERE id = '{id}'");
    let session = stack.databases[0].session().await;
    let takeovers = async {
        loop {
            session.batch_execute(&takeover).await.unwrap();
        }
    };
    let output = tokio::select! {
        output = stack.audit_command(true) => output,
        () = takeovers => unreachable!("the takeovers never stop"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2)
            && stderr.contains("changed each time that they were read (1 of them)"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_stays_clean_while_orders_are_cancelled_and_fulfilled() {
    let stack = SeparateStack::start().await;
    let (ended, audits) = (Cell::new(0_usize), Cell::new(0));
    // Until there were enough changes and audits, however long an audit takes on a loaded machine.
    let operators = async {
        while ended.get() < 120 || audits.get() < 10 {
            let orders = confirmed_orders(&stack, 6).await;
            let changes = orders.iter().enumerate().map(async |(n, id)| {
                let action = if n % 2 == 0 { "cancel" } else { "fulfil" };
                let path = format!("/orders/{id}/{action}");
                let response = stack.order.post(&path, &json!({})).await;
                assert!(
                    [200, 202].contains(&response.status.as_u16()),
                    "{response:?}"
                );
            });
            ended.set(ended.get() + join_all(changes).await.len());
        }
    };
    let auditor = async {
        for number in 0.. {
            assert_clean(&stack.audit().await);
            audits.set(number);
        }
    };
    tokio::select! {
        () = operators => {}
        () = auditor => unreachable!("the auditor never stops"),
    }
    stack.wait_until_settled().await;
    let audit = stack.audit().await;
    assert_clean(&audit);
    let half = i64::try_from(ended.get() / 2).unwrap();
    assert_eq!(audit.orders.confirmed, half, "fulfilled: {audit}");
    assert!(audit.orders.failed >= half, "cancelled: {audit}");
}
