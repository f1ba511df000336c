//! Order services with a database each, in front of one inventory and one payment.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::violations::violated;
use crate::harness::{Service, Stack, TestDatabase, eventually, free_port};

const ORDERS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn order_services_with_a_database_each_share_inventory_and_payment() {
    let mut stack = Stack::start().await;
    let database = TestDatabase::create().await;
    let second = start_second_order_service(&stack, &database).await;

    place_orders(&stack.order, &[201, 202]).await;
    place_orders(&second, &[201, 202]).await;
    // The recovery of each order service finishes its own orders.
    stack.inventory.process.kill().await.unwrap();
    place_orders(&stack.order, &[202]).await;
    place_orders(&second, &[202]).await;
    stack.restart_inventory(&[]).await;
    for of_orders in [&stack.database, &database] {
        let confirmed = "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'";
        eventually("all orders to be confirmed", async || {
            let confirmed = of_orders.count(confirmed).await;
            (confirmed == i64::try_from(2 * ORDERS).unwrap()).then_some(())
        })
        .await;
    }

    let rows = i64::try_from(4 * ORDERS).unwrap();
    let held = "SELECT count(*) FROM reservations WHERE state = 'HELD'";
    assert_eq!(stack.database.count(held).await, rows);
    let paid = "SELECT count(*) FROM payments WHERE status = 'SUCCESS'";
    assert_eq!(stack.database.count(paid).await, rows);
    // The audit of one part knows only the orders of that part.
    let audit = second.audit().await.expect("a response to GET /audit");
    assert_eq!(violated(&audit), [("payment-has-order", rows / 2)]);
}

/// Starts an order service that shares only inventory and payment with the stack.
async fn start_second_order_service(stack: &Stack, database: &TestDatabase) -> Service {
    let mut env = stack.env.clone();
    env.retain(|(name, _)| *name != "DATABASE_URL");
    env.extend([
        ("DATABASE_URL", database.url()),
        ("INVENTORY_DATABASE_URL", stack.database.url()),
        ("PAYMENT_DATABASE_URL", stack.database.url()),
    ]);
    let service = Service::start("order", free_port(), &env);
    service.wait_until_ready().await;
    service
}

async fn place_orders(service: &Service, expected: &[u16]) {
    let body = json!({"product_id": "PROD-001", "quantity": 1});
    let orders = (0..ORDERS).map(|_| service.post("/orders", &body));
    for response in join_all(orders).await {
        let status = response.status.as_u16();
        assert!(expected.contains(&status), "{response:?}");
    }
}
