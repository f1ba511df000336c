//! Obligations that cannot be met: recovery keeps retrying them, `/orders` shows them, and other
//! orders are not affected.

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{LONG_STEPS, Stack, eventually, stock_of};

/// Stores failed orders that owe a refund.
async fn store_orders_that_owe_a_refund(stack: &Stack, orders: u32) {
    let owing = format!(
        "INSERT INTO orders
             (product_id, quantity, status, failure_reason, refund_owed, owed_since)
         SELECT 'PROD-001', 1, 'FAILED', 'expired', true, now() FROM generate_series(1, {orders})"
    );
    stack.database.execute(&owing).await;
}

async fn assert_orders_are_confirmed(stack: &Stack, orders: usize) {
    let responses = join_all((0..orders).map(|_| stack.place("PROD-001", 1))).await;
    for response in responses {
        assert_eq!(response.status, 201, "{response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_that_always_fail_are_shown_as_stuck_and_open_no_breaker() {
    let stack = Stack::with(&[("RECOVERY_BOUND_SECONDS", "2"), LONG_STEPS]).await;
    stack.database.execute(&stock_of(1000)).await;
    let rule = json!({"kind": "error", "status": 500, "route": "/payments/void"});
    let rule = stack.payment.add_gremlin_rule(rule).await;
    store_orders_that_owe_a_refund(&stack, 20).await;
    // This many failures would open a breaker that counted them.
    eventually("40 refunds to fail", async || {
        (stack.payment.gremlin_rule(rule).await["fired"]
            .as_u64()
            .unwrap()
            >= 40)
            .then_some(())
    })
    .await;
    for _ in 0..4 {
        assert_orders_are_confirmed(&stack, 10).await;
    }
    let opened = stack
        .order
        .lines()
        .into_iter()
        .find(|line| line.contains("breaker changed"));
    assert_eq!(opened, None);
    eventually("the orders to be stuck", async || {
        let refunds = stack
            .order
            .metric(r#"valerix_orders_stuck{owes="refund"}"#)
            .await;
        (refunds >= 20.0).then_some(())
    })
    .await;
    for owes in ["release", "shipment"] {
        let series = format!(r#"valerix_orders_stuck{{owes="{owes}"}}"#);
        assert!(stack.order.metric(&series).await.abs() < 0.5, "{owes}");
    }
    let listed = stack
        .order
        .get("/orders?settled=false&limit=100")
        .await
        .json();
    let listed = listed["orders"].as_array().unwrap();
    assert_eq!(listed.len(), 20);
    for order in listed {
        assert_eq!(
            (&order["settled"], &order["owes"]),
            (&json!(false), &json!(["refund"])),
            "{order}"
        );
    }
    assert_eq!(
        stack
            .payment
            .delete(&format!("/gremlin/rules/{rule}"))
            .await
            .status,
        204
    );
    stack.wait_until_settled().await;
    assert_eq!(
        stack.order.get("/orders?settled=false").await.json()["orders"],
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_exceeds_the_reserved_stock_fails_without_affecting_others() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    stack.database.execute(&stock_of(1000)).await;
    // The quantity is larger than all that other orders reserve meanwhile.
    let order = Uuid::new_v4();
    let reserve = json!({"product_id": "PROD-001", "quantity": 500, "order_id": order});
    assert_eq!(
        stack
            .inventory
            .post("/inventory/reserve", &reserve)
            .await
            .status,
        200
    );
    let owing = format!(
        "DELETE FROM inventory WHERE product_id = 'PROD-001';
         INSERT INTO inventory (product_id, stock) VALUES ('PROD-001', 1000);
         INSERT INTO orders (id, product_id, quantity, status, failure_reason,
             release_owed_epoch, refund_owed, owed_since)
         VALUES ('{order}', 'PROD-001', 500, 'FAILED', 'expired', 1, true, now())"
    );
    stack.database.execute(&owing).await;
    let rejected = stack
        .inventory
        .post("/inventory/release", &json!({"order_id": order}))
        .await;
    rejected.assert_problem(409, "stock-mismatch");
    for _ in 0..4 {
        assert_orders_are_confirmed(&stack, 10).await;
    }
    eventually(
        "the refund, which does not wait for the release",
        async || {
            let owing = stack.order.get("/orders?settled=false").await.json();
            (owing["orders"][0]["owes"] == json!(["release"])).then_some(())
        },
    )
    .await;
    // An operator repairs the product's row.
    let repair = "WITH repaired AS (
            UPDATE inventory SET reserved = reserved + 500, stocked = stocked + 500
            WHERE product_id = 'PROD-001' RETURNING stock, reserved, stocked)
        INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
        SELECT 'PROD-001', 500, stock, reserved, stocked FROM repaired";
    stack.database.execute(repair).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

/// The release of a failed order covers reservations at every epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_settled_order_holds_nothing_even_after_a_reserve_of_another_client() {
    let stack = Stack::with(&[
        ("DOWNSTREAM_TIMEOUT_MS", "300"),
        ("RECOVERY_BOUND_SECONDS", "3"),
    ])
    .await;
    stack.inventory.set_latency(true, 30_000).await;
    let pending = stack.place("PROD-001", 2).await;
    assert_eq!(pending.status, 202);
    stack.inventory.set_latency(false, 0).await;
    let id = pending.json()["id"].clone();
    let foreign =
        json!({"product_id": "PROD-001", "quantity": 2, "order_id": id, "epoch": i32::MAX});
    let held = stack.inventory.post("/inventory/reserve", &foreign).await;
    // Recovery may have been faster. Then this reserve only raises the epoch of the reservation.
    assert_eq!(held.status, 200, "{held:?}");
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}
