//! The audit names the violated invariant for each missing, wrong or unknown row, in every table.

use serde_json::json;
use uuid::Uuid;
use valerix::audit::Invariant;

use crate::audit::{LEASED, audit_command, invariant};
use crate::harness::Stack;

/// The product of the order that was fulfilled: one unit of it was shipped.
const SHIPPED: &str = "product_id = 'PROD-003'";
/// Moves two units of the confirmed order's product from `reserved` to `stock`, or back.
const UNRESERVE_TWO: &str = "UPDATE inventory SET stock = stock + 2, reserved = reserved - 2
    WHERE product_id = 'PROD-001'";
const RESERVE_TWO: &str = "UPDATE inventory SET stock = stock - 2, reserved = reserved + 2
    WHERE product_id = 'PROD-001'";

/// The ids of orders that ended in different ways.
struct EndedOrders {
    /// Two units of PROD-001.
    confirmed: String,
    /// One unit of PROD-003.
    fulfilled: String,
    /// Two units of PROD-001.
    cancelled: String,
    out_of_stock: String,
    declined: String,
}

impl EndedOrders {
    async fn place(stack: &mut Stack) -> Self {
        let confirmed = stack.place("PROD-001", 2).await.json();
        let fulfilled = ended_by(stack, "PROD-003", 1, "fulfil").await;
        let cancelled = ended_by(stack, "PROD-001", 2, "cancel").await;
        let out_of_stock = stack
            .place("PROD-003", 1000)
            .await
            .assert_problem(409, "insufficient-stock");
        stack
            .restart_payment(&[("PAYMENT_SUCCESS_RATE", "0")])
            .await;
        let declined = stack.declined("PROD-002").await;
        stack.wait_until_settled().await;
        let id = |body: &serde_json::Value, member: &str| body[member].as_str().unwrap().to_owned();
        Self {
            confirmed: id(&confirmed, "id"),
            fulfilled,
            cancelled,
            out_of_stock: id(&out_of_stock, "order_id"),
            declined,
        }
    }
}

/// Confirms an order and ends it by an action of operators. Returns its id.
async fn ended_by(stack: &Stack, product_id: &str, quantity: i32, action: &str) -> String {
    let id = stack.confirmed(product_id, quantity).await;
    let response = stack.order.act(action, &id).await;
    assert_eq!(response.status, 200, "{response:?}");
    id
}

/// The SQL that causes a defect, the SQL that repairs it, and the invariant that must report it.
struct Defect {
    cause: String,
    repair: String,
    invariant: &'static str,
}

fn changed(cause: impl Into<String>, repair: impl Into<String>, invariant: &'static str) -> Defect {
    Defect {
        cause: cause.into(),
        repair: repair.into(),
        invariant,
    }
}

/// Deletes rows, and keeps them for the repair.
fn deleted(table: &str, rows: &str, invariant: &'static str) -> Defect {
    Defect {
        cause: format!(
            "CREATE TABLE kept AS SELECT * FROM {table} WHERE {rows};
             DELETE FROM {table} WHERE {rows}"
        ),
        repair: format!("INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"),
        invariant,
    }
}

/// Sets a column of a row to a wrong value. The repair sets it to the `right` one again.
fn set(
    table: &str,
    row: &str,
    [column, wrong, right]: [&str; 3],
    invariant: &'static str,
) -> Defect {
    let statement = |value: &str| format!("UPDATE {table} SET {column} = {value} WHERE {row}");
    changed(statement(wrong), statement(right), invariant)
}

fn missing_rows(ended: &EndedOrders) -> Vec<Defect> {
    let EndedOrders {
        confirmed,
        fulfilled,
        cancelled,
        out_of_stock,
        declined,
    } = ended;
    let of = |id: &str| format!("order_id = '{id}'");
    vec![
        deleted(
            "orders",
            &format!("id = '{confirmed}'"),
            "payment-has-order",
        ),
        deleted("orders", &format!("id = '{confirmed}'"), "event-has-order"),
        deleted(
            "orders",
            &format!("id = '{out_of_stock}'"),
            "event-has-order",
        ),
        deleted("reservations", &of(confirmed), "confirmed-is-held-and-paid"),
        deleted("reservations", &of(confirmed), "reserved-is-held"),
        deleted("reservations", &of(out_of_stock), "failed-has-reservation"),
        deleted("payments", &of(confirmed), "confirmed-is-held-and-paid"),
        deleted("payments", &of(declined), "failed-has-payment"),
        deleted("payments", &of(cancelled), "failed-has-payment"),
        deleted("reservations", &of(cancelled), "failed-has-reservation"),
        deleted(
            "reservations",
            &of(fulfilled),
            "fulfilled-is-shipped-and-paid",
        ),
        deleted("payments", &of(fulfilled), "fulfilled-is-shipped-and-paid"),
        deleted(
            "orders",
            &format!("id = '{fulfilled}'"),
            "shipped-is-fulfilled",
        ),
        deleted("inventory", "product_id = 'PROD-001'", "reserved-is-held"),
        deleted("inventory", SHIPPED, "shipped-matches-ledger"),
        deleted(
            "reservations",
            "state = 'SHIPPED'",
            "shipped-matches-ledger",
        ),
        deleted(
            "inventory",
            "product_id = 'PROD-001'",
            "stocked-is-delivered",
        ),
        deleted(
            "deliveries",
            "product_id = 'PROD-002'",
            "stocked-is-delivered",
        ),
        deleted(
            "inventory",
            "product_id = 'PROD-002'",
            "product-has-inventory",
        ),
        deleted(
            "inventory",
            "product_id = 'PROD-003'",
            "product-has-inventory",
        ),
    ]
}

fn wrong_rows(ended: &EndedOrders) -> Vec<Defect> {
    let EndedOrders {
        confirmed,
        out_of_stock,
        ..
    } = ended;
    let (order, of_order) = (
        format!("id = '{confirmed}'"),
        format!("order_id = '{confirmed}'"),
    );
    let move_stock = |by: i32| {
        format!(
            "UPDATE inventory SET stock = stock + {by}, reserved = reserved - {by}
             WHERE product_id = 'PROD-001'"
        )
    };
    vec![
        changed(
            format!(
                "UPDATE reservations SET state = 'RELEASED' WHERE {of_order}; {}",
                move_stock(2)
            ),
            format!(
                "UPDATE reservations SET state = 'HELD' WHERE {of_order}; {}",
                move_stock(-2)
            ),
            "confirmed-is-held-and-paid",
        ),
        set(
            "payments",
            &of_order,
            ["status", "'REFUNDED'", "'SUCCESS'"],
            "confirmed-is-held-and-paid",
        ),
        set(
            "payments",
            &of_order,
            ["status", "'REFUNDED'", "'SUCCESS'"],
            "confirmed-is-not-refunded",
        ),
        changed(move_stock(-1), move_stock(1), "reserved-is-held"),
        set(
            "inventory",
            SHIPPED,
            ["shipped", "2", "1"],
            "stock-conserved",
        ),
        set(
            "inventory",
            SHIPPED,
            ["shipped", "2", "1"],
            "shipped-matches-ledger",
        ),
        set(
            "deliveries",
            "product_id = 'PROD-003'",
            ["quantity", "26", "25"],
            "stocked-is-delivered",
        ),
        // A product whose stock was raised by hand, without a delivery.
        changed(
            "UPDATE inventory SET stock = stock + 1, stocked = stocked + 1
             WHERE product_id = 'PROD-003'",
            "UPDATE inventory SET stock = stock - 1, stocked = stocked - 1
             WHERE product_id = 'PROD-003'",
            "stocked-is-delivered",
        ),
        changed(
            "INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
             VALUES ('PROD-404', 1, 1, 0, 1), ('PROD-404', -1, 0, 0, 0)",
            "DELETE FROM deliveries WHERE product_id = 'PROD-404'",
            "stocked-is-delivered",
        ),
        set(
            "payments",
            &of_order,
            ["amount", "0.01", "99.99"],
            "paid-what-was-ordered",
        ),
        set(
            "orders",
            &order,
            ["amount", "100", "99.99"],
            "paid-what-was-ordered",
        ),
        changed(
            format!("INSERT INTO payments (order_id) VALUES ('{out_of_stock}')"),
            format!("DELETE FROM payments WHERE order_id = '{out_of_stock}'"),
            "failed-keeps-nothing",
        ),
        changed(
            format!(
                "INSERT INTO payments (order_id, status) VALUES ('{}', 'SUCCESS')",
                Uuid::nil()
            ),
            format!("DELETE FROM payments WHERE order_id = '{}'", Uuid::nil()),
            "payment-has-order",
        ),
    ]
}

/// Orders that do not agree with what was shipped.
fn wrong_shipments(ended: &EndedOrders) -> Vec<Defect> {
    let EndedOrders {
        confirmed,
        fulfilled,
        ..
    } = ended;
    let of_order = format!("order_id = '{fulfilled}'");
    let order = format!("id = '{fulfilled}'");
    let moved = |id: &str, product: &str, from: &str, to: &str| {
        let [before, after] = [from, to].map(|state| match state {
            "HELD" => "reserved",
            _ => "shipped",
        });
        format!(
            "UPDATE reservations SET state = '{to}' WHERE order_id = '{id}';
             UPDATE inventory i SET {before} = i.{before} - r.quantity,
                 {after} = i.{after} + r.quantity
             FROM reservations r WHERE r.order_id = '{id}' AND i.product_id = '{product}'"
        )
    };
    let shipped_unasked = |invariant| {
        changed(
            moved(confirmed, "PROD-001", "HELD", "SHIPPED"),
            moved(confirmed, "PROD-001", "SHIPPED", "HELD"),
            invariant,
        )
    };
    let failed = |invariant| {
        changed(
            format!(
                "UPDATE orders SET status = 'FAILED', failure_reason = 'expired' WHERE {order}"
            ),
            format!("UPDATE orders SET status = 'CONFIRMED', failure_reason = NULL WHERE {order}"),
            invariant,
        )
    };
    vec![
        shipped_unasked("confirmed-is-held-and-paid"),
        shipped_unasked("shipped-is-fulfilled"),
        changed(
            moved(fulfilled, "PROD-003", "SHIPPED", "HELD"),
            moved(fulfilled, "PROD-003", "HELD", "SHIPPED"),
            "fulfilled-is-shipped-and-paid",
        ),
        set(
            "payments",
            &of_order,
            ["status", "'REFUNDED'", "'SUCCESS'"],
            "fulfilled-is-shipped-and-paid",
        ),
        set(
            "orders",
            &order,
            ["quantity", "2", "1"],
            "fulfilled-is-shipped-and-paid",
        ),
        set(
            "orders",
            &order,
            ["fulfilled_at", "NULL", "now()"],
            "shipped-is-fulfilled",
        ),
        failed("fulfilled-is-shipped-and-paid"),
        failed("held-and-paid-is-confirmed"),
        failed("failed-keeps-nothing"),
    ]
}

/// A cancelled order that keeps its stock or its money.
fn wrong_cancellations(ended: &EndedOrders) -> Vec<Defect> {
    let EndedOrders { cancelled, .. } = ended;
    let of_order = format!("order_id = '{cancelled}'");
    let held = format!("UPDATE reservations SET state = 'HELD' WHERE {of_order}; {RESERVE_TWO}");
    let released =
        format!("UPDATE reservations SET state = 'RELEASED' WHERE {of_order}; {UNRESERVE_TWO}");
    let charged = format!("UPDATE payments SET status = 'SUCCESS' WHERE {of_order}");
    let refunded = format!("UPDATE payments SET status = 'REFUNDED' WHERE {of_order}");
    vec![
        changed(&held, &released, "failed-keeps-nothing"),
        changed(&charged, &refunded, "failed-keeps-nothing"),
        changed(
            format!("{held}; {charged}"),
            format!("{released}; {refunded}"),
            "held-and-paid-is-confirmed",
        ),
    ]
}

/// Obligations that are two hours old. The recovery bound is one hour.
fn late_obligations(ended: &EndedOrders) -> Vec<Defect> {
    let EndedOrders {
        confirmed,
        out_of_stock,
        ..
    } = ended;
    let owes = |id: &str, what: &str, since: &str, updated: &str| {
        let cause = format!(
            "UPDATE orders SET {what}, owed_since = {since}, updated_at = {updated}, {LEASED}
             WHERE id = '{id}'"
        );
        let repair = "UPDATE orders SET release_owed_epoch = NULL, refund_owed = false,
            shipment_owed = false, owed_since = NULL, lease_until = NULL";
        changed(cause, repair, "obligations-met-in-time")
    };
    let old = "now() - interval '2 hours'";
    vec![
        owes(out_of_stock, "release_owed_epoch = 1", old, "now()"),
        owes(out_of_stock, "refund_owed = true", old, "now()"),
        owes(out_of_stock, "refund_owed = true", "NULL", old),
        owes(confirmed, "shipment_owed = true", old, "now()"),
    ]
}

/// States that a newer version may write. The test drops the constraints that forbid them.
fn unknown_states(ended: &EndedOrders) -> Vec<Defect> {
    let EndedOrders { confirmed, .. } = ended;
    let unknown = |table: &str, column: &str, id: &str, right: &str| {
        set(
            table,
            &format!("{id} = '{confirmed}'"),
            [column, "'NEWER'", right],
            "states-are-known",
        )
    };
    vec![
        unknown("orders", "status", "id", "'CONFIRMED'"),
        unknown("reservations", "state", "order_id", "'HELD'"),
        unknown("payments", "status", "order_id", "'SUCCESS'"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_defect_violates_the_expected_invariant() {
    let mut stack = Stack::start().await;
    let ended = EndedOrders::place(&mut stack).await;
    stack.assert_clean_audit().await;
    stack
        .database
        .execute(
            "ALTER DOMAIN order_status DROP CONSTRAINT order_status_known;
             ALTER TABLE orders DROP CONSTRAINT orders_shipped_is_confirmed;
             ALTER DOMAIN reservation_state DROP CONSTRAINT reservation_state_known;
             ALTER DOMAIN payment_status DROP CONSTRAINT payment_status_known",
        )
        .await;
    let defects = [
        missing_rows(&ended),
        wrong_rows(&ended),
        wrong_shipments(&ended),
        wrong_cancellations(&ended),
        late_obligations(&ended),
        unknown_states(&ended),
    ];
    for Defect {
        cause,
        repair,
        invariant: name,
    } in defects.into_iter().flatten()
    {
        stack.database.execute(&cause).await;
        let audit = stack.audit().await.unwrap();
        let Invariant {
            violations,
            examples,
            ..
        } = invariant(&audit, name);
        assert!(
            !audit.clean && *violations == 1 && examples.len() == 1,
            "{cause}: {audit}"
        );
        let output = audit_command(&stack, &[]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_reported = text.lines().any(|line| {
            line.starts_with(&format!("✗ {name} ")) && line.ends_with(" checked, 1 violation")
        });
        assert!(output.status.code() == Some(1) && is_reported, "{text}");
        stack.database.execute(&repair).await;
        let repaired = stack.audit().await.unwrap();
        assert!(repaired.clean, "{repair}: {repaired}");
    }
    let output = audit_command(&stack, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    // The audit also checks what a constraint of the schema forbids.
    stack
        .database
        .execute(
            "ALTER TABLE reservations DROP CONSTRAINT reservations_pkey;
             INSERT INTO reservations SELECT * FROM reservations WHERE state = 'RELEASED' LIMIT 1",
        )
        .await;
    let audit = stack.audit().await.unwrap();
    assert_eq!(
        invariant(&audit, "one-reservation-per-order").violations,
        1,
        "{audit}"
    );
}

/// A shipment is recorded before inventory ships, and stays owed until the order says that the
/// goods have left. Between the two the reservation may be held or shipped.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_owes_a_shipment_may_be_held_or_shipped_and_nothing_else() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 2).await;
    let owes = format!(
        "UPDATE orders SET shipment_owed = true, owed_since = now(), {LEASED} WHERE id = '{id}'"
    );
    stack.database.execute(&owes).await;
    let audit = stack.audit().await.unwrap();
    assert!(audit.clean && audit.orders.unsettled == 1, "{audit}");
    let shipped = "UPDATE reservations SET state = 'SHIPPED';
        UPDATE inventory SET reserved = 0, shipped = 2 WHERE product_id = 'PROD-001'";
    stack.database.execute(shipped).await;
    let audit = stack.audit().await.unwrap();
    assert!(audit.clean && audit.orders.unsettled == 1, "{audit}");
    let released = "UPDATE reservations SET state = 'RELEASED';
        UPDATE inventory SET stock = stock + 2, shipped = 0 WHERE product_id = 'PROD-001'";
    stack.database.execute(released).await;
    let audit = stack.audit().await.unwrap();
    assert_eq!(
        invariant(&audit, "confirmed-is-held-and-paid").examples,
        [id],
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_order_that_was_refunded_by_hand_is_named_and_cancelling_it_settles_it() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 2).await;
    let void = json!({"order_id": id});
    let voided = stack.payment.post("/payments/void", &void).await;
    assert_eq!(voided.status, 200, "{voided:?}");
    let output = audit_command(&stack, &[]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let explained = format!(
        "1 checked, 1 violation\n    \
         violated: no payment of a confirmed order was refunded by hand; if one was,\n    \
         cancel the order\n    - {id}\n"
    );
    assert!(text.contains("\n✗ confirmed-is-not-refunded "), "{text}");
    assert!(text.contains(&explained), "{text}");

    let cancelled = stack.order.act("cancel", &id).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
}
