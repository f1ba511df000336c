//! Query plans: no service reads a whole table, and each index is used.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::events::{Change, Listener};
use crate::harness::old_orders::old_orders;
use crate::harness::{Stack, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn no_plan_reads_a_whole_table_and_every_index_is_used() {
    let stack = Stack::start().await;
    // A backlog of orders: with only a few of them, reading the whole table would be cheap.
    let backlog = "INSERT INTO orders (product_id, quantity, next_attempt_at)
            SELECT 'PROD-002', 1, now() + interval '1 hour' FROM generate_series(1, 5000);
        ANALYZE orders";
    stack.database.execute(backlog).await;
    let mut listener = Listener::open(&stack.order, None).await;
    // The test does all that services do except audits: it places, repeats, lists, recovers,
    // releases, ships, voids and delivers.
    let body = r#"{"product_id":"PROD-001","quantity":1}"#;
    let key = [("idempotency-key", "k")];
    let place = || {
        stack
            .order
            .request(Method::POST, "/orders", &key, Some(body))
    };
    place().await;
    eventually("the order to be confirmed", async || {
        (place().await.status == 201).then_some(())
    })
    .await;
    // Filters that match few orders of many, or none.
    for (filter, orders) in [
        ("", 20),
        ("product_id=PROD-002&limit=100", 100),
        ("product_id=PROD-404", 0),
        ("status=FAILED", 0),
        ("status=FAILED&product_id=PROD-002", 0),
        ("settled=true", 1),
        ("settled=false&limit=7", 7),
        ("settled=false&status=FAILED", 0),
        ("settled=true&created_after=2100-01-01T00:00:00Z", 0),
        ("created_before=2000-01-01T00:00:00Z&status=PENDING", 0),
    ] {
        let page = stack.order.get(&format!("/orders?{filter}")).await.json();
        assert_eq!(page["orders"].as_array().unwrap().len(), orders, "{filter}");
    }
    let confirmed = stack.order.get("/orders?status=CONFIRMED").await.json();
    let id = confirmed["orders"][0]["id"].as_str().unwrap();
    assert_eq!(stack.order.get(&format!("/orders/{id}")).await.status, 200);
    stack
        .payment
        .post("/payments/void", &json!({"order_id": Uuid::new_v4()}))
        .await;
    stack
        .inventory
        .post("/inventory/release", &json!({"order_id": Uuid::new_v4()}))
        .await;
    reserve_and_ship(&stack).await;
    stack.inventory.get("/inventory").await;
    create_and_deliver(&stack).await;
    // Recovery changes what the lists above have shown. The statement uses the index of recovery.
    let due = "SET enable_seqscan = off;
        UPDATE orders SET next_attempt_at = now()
        WHERE next_attempt_at > now() + interval '1 minute' AND status IN
            ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')";
    stack.database.execute(due).await;
    eventually("500 recovery attempts", async || {
        (attempts(&stack).await > 500.0).then_some(())
    })
    .await;
    listener.changes(100).await;
    Listener::open(&stack.order, Some("0-0"))
        .await
        .changes(100)
        .await;
    let_orders_leave(&stack).await;
    // PostgreSQL publishes its statistics with a delay.
    eventually("every index to be used", async || {
        let unused = unused_indexes(&stack).await;
        unused.is_empty().then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let whole = "SELECT relname::text, seq_scan FROM pg_stat_user_tables
        WHERE seq_scan > 0 AND relname IN
            ('orders', 'order_events', 'leaving_orders', 'forgotten_events', 'sla_reports',
             'inventory', 'deliveries', 'reservations', 'forgotten_shipments', 'payments')";
    let whole: Vec<(String, i64)> = stack
        .database
        .query(whole)
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert!(whole.is_empty(), "read whole: {whole:?}");
    // The table is not read whole through an index either.
    let read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'orders_pkey'";
    let (read, attempts) = (stack.database.count(read).await, attempts(&stack).await);
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
    let each = read as f64 / attempts;
    assert!(each < 50.0, "{read} orders read for {attempts} attempts");
    // A page of the list reads at most a page of each status, however many orders there are.
    let pages = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
        WHERE indexrelname IN ('orders_by_status', 'orders_by_product')";
    let read = stack.database.count(pages).await;
    assert!(read < 1500, "{read} entries read for 13 pages");
    // The event stream reads each change once, and again for a client that resumes.
    let read =
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'order_events_pkey'";
    let (read, changes) = (
        stack.database.count(read).await,
        Change::stored(&stack.database).await.len(),
    );
    assert!(
        read < 10 * i64::try_from(changes).unwrap(),
        "{read} reads of {changes} changes"
    );
}

/// Ships an order twice. No order of the platform has its id.
async fn reserve_and_ship(stack: &Stack) {
    let body = json!({"product_id": "PROD-003", "quantity": 1, "order_id": Uuid::new_v4()});
    for path in ["/inventory/reserve", "/inventory/ship", "/inventory/ship"] {
        let response = stack.inventory.post(path, &body).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
    }
}

/// Creates a product, and repeats a delivery of it.
async fn create_and_deliver(stack: &Stack) {
    let (product, delivery) = (
        json!({"stock": 1}),
        json!({"quantity": 1, "delivery_id": "D"}),
    );
    let created = stack.inventory.put("/inventory/NEW", &product).await;
    assert_eq!(created.status, 201, "{created:?}");
    for status in [201, 200] {
        let path = "/inventory/NEW/deliveries";
        let delivered = stack.inventory.post(path, &delivery).await;
        assert_eq!(delivered.status, status, "{delivered:?}");
    }
}

/// Lets old orders leave. The statements that store them read no table whole either.
async fn let_orders_leave(stack: &Stack) {
    let old = old_orders(100).join(";");
    let store = format!("SET enable_seqscan = off; {old}");
    stack.database.execute(&store).await;
    let mut body = json!({"older_than_days": 30});
    let mut left = 0;
    while !body["cursor"].is_null() || left == 0 {
        let done = stack.order.post("/retention/steps", &body).await.json();
        left += done["orders"].as_i64().unwrap();
        body["cursor"] = done["next_cursor"].clone();
    }
    assert_eq!(left, 100);
}

/// Indexes that no statement has used, without primary keys.
async fn unused_indexes(stack: &Stack) -> Vec<String> {
    let statement =
        "SELECT indexrelname::text FROM pg_stat_user_indexes JOIN pg_index USING (indexrelid)
        WHERE idx_scan = 0 AND NOT indisprimary ORDER BY 1";
    stack
        .database
        .query(statement)
        .await
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// The number of recovery attempts, from the metrics: to count them in the table would read it
/// whole.
async fn attempts(stack: &Stack) -> f64 {
    let metrics = stack.order.get("/metrics").await.text;
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("valerix_recovery_attempts_total"));
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
