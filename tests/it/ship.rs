//! `POST /inventory/ship`: the goods of an order leave once, and nothing brings them back.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Response, Service, Stack, eventually, free_port};

/// A new order that holds these goods.
async fn reserve(stack: &Stack, product_id: &str, quantity: i32) -> Uuid {
    let order = Uuid::new_v4();
    let body = json!({"product_id": product_id, "quantity": quantity, "order_id": order});
    let reserved = stack.inventory.post("/inventory/reserve", &body).await;
    assert_eq!(reserved.status, 200, "{reserved:?}");
    order
}

async fn ship(service: &Service, body: &Value) -> Response {
    service.post("/inventory/ship", body).await
}

async fn release(stack: &Stack, body: &Value) -> i64 {
    let released = stack.inventory.post("/inventory/release", body).await;
    assert_eq!(released.status, 200, "{released:?}");
    released.json()["released"].as_i64().unwrap()
}

/// The figures of `GET /inventory/{product_id}`: stock, reserved, shipped and stocked.
async fn figures(stack: &Stack, product_id: &str) -> [i64; 4] {
    let path = format!("/inventory/{product_id}");
    let product = stack.inventory.get(&path).await.json();
    ["stock", "reserved", "shipped", "stocked"].map(|figure| product[figure].as_i64().unwrap())
}

/// The order's row of the ledger, as text.
async fn row(stack: &Stack, order: Uuid) -> Vec<String> {
    let statement = format!("SELECT r::text FROM reservations r WHERE order_id = '{order}'");
    let rows = stack.database.query(&statement).await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[track_caller]
fn assert_shipped(response: &Response, order: Uuid, product_id: &str, quantity: i32) {
    let shipped = json!({"order_id": order, "product_id": product_id, "quantity": quantity});
    assert_eq!(
        (response.status.as_u16(), response.json()),
        (200, shipped),
        "{response:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_goods_of_an_order_leave_once_and_a_repetition_is_answered_the_same() {
    let stack = Stack::start().await;
    let order = reserve(&stack, "PROD-001", 4).await;
    reserve(&stack, "PROD-001", 1).await;
    for body in [
        json!({"order_id": order, "epoch": 1}),
        json!({"order_id": order, "epoch": 1}),
        json!({"order_id": order}),
        json!({"order_id": order, "epoch": i32::MAX}),
    ] {
        let shipped = ship(&stack.inventory, &body).await;
        assert_shipped(&shipped, order, "PROD-001", 4);
        assert_eq!(figures(&stack, "PROD-001").await, [95, 1, 4, 100]);
    }
    let list = stack.inventory.get("/inventory").await.json();
    assert_eq!(
        list[0],
        json!({"product_id": "PROD-001", "stock": 95, "reserved": 1, "shipped": 4, "stocked": 100})
    );
    // Goods that have left are not there to be corrected, and a delivery does not count them again.
    let correction = stack.deliver("PROD-001", &json!({"quantity": -96})).await;
    correction.assert_problem(409, "insufficient-stock");
    let delivered = stack.deliver("PROD-001", &json!({"quantity": 5})).await;
    let delivered = delivered.json();
    assert_eq!(
        (&delivered["stock"], &delivered["stocked"]),
        (&json!(100), &json!(105))
    );
    assert_eq!(figures(&stack, "PROD-001").await, [100, 1, 4, 105]);
    stack.store_orders_of_shipped_reservations().await;
    assert!(stack.audit().await.unwrap().clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_holds_nothing_cannot_be_shipped() {
    let stack = Stack::start().await;
    let unknown = Uuid::new_v4();
    for body in [
        json!({"order_id": unknown}),
        json!({"order_id": unknown, "epoch": 7}),
    ] {
        let rejected = ship(&stack.inventory, &body).await;
        let problem = rejected.assert_problem(409, "nothing-held");
        assert_eq!(problem["order_id"], json!(unknown));
    }
    assert_eq!(
        row(&stack, unknown).await.len(),
        0,
        "a later reserve finds no row"
    );
    let released = reserve(&stack, "PROD-001", 4).await;
    assert_eq!(release(&stack, &json!({"order_id": released})).await, 4);
    for body in [
        json!({"order_id": released}),
        json!({"order_id": released, "epoch": 9}),
    ] {
        let rejected = ship(&stack.inventory, &body).await;
        rejected.assert_problem(409, "nothing-held");
    }
    for body in [json!({}), json!({"order_id": "x"})] {
        let problem = ship(&stack.inventory, &body)
            .await
            .assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "order_id");
    }
    assert_eq!(figures(&stack, "PROD-001").await, [100, 0, 0, 100]);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_ship_of_an_earlier_epoch_changes_nothing() {
    let stack = Stack::start().await;
    let order = reserve(&stack, "PROD-001", 4).await;
    let takeover = json!({"product_id": "PROD-001", "quantity": 4, "order_id": order, "epoch": 2});
    let held = stack.inventory.post("/inventory/reserve", &takeover).await;
    assert_eq!(held.status, 200, "{held:?}");
    let at = |epoch: i32| json!({"order_id": order, "epoch": epoch});
    let late = ship(&stack.inventory, &at(1)).await;
    late.assert_problem(409, "stale-epoch");
    assert_eq!(figures(&stack, "PROD-001").await, [96, 4, 0, 100]);
    let shipped = ship(&stack.inventory, &at(3)).await;
    assert_shipped(&shipped, order, "PROD-001", 4);
    let late = ship(&stack.inventory, &at(2)).await;
    late.assert_problem(409, "stale-epoch");
    // A release at a higher epoch fences a ship, too.
    let released = reserve(&stack, "PROD-002", 1).await;
    let release_at_2 = json!({"order_id": released, "epoch": 2});
    assert_eq!(release(&stack, &release_at_2).await, 1);
    let ship_at_1 = json!({"order_id": released, "epoch": 1});
    let late = ship(&stack.inventory, &ship_at_1).await;
    late.assert_problem(409, "stale-epoch");
    assert_eq!(figures(&stack, "PROD-001").await, [96, 0, 4, 100]);
    assert_eq!(figures(&stack, "PROD-002").await, [50, 0, 0, 50]);
    stack.store_orders_of_shipped_reservations().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_order_gives_nothing_back_and_reserves_nothing_more() {
    let stack = Stack::start().await;
    let order = reserve(&stack, "PROD-001", 4).await;
    let shipped = ship(&stack.inventory, &json!({"order_id": order, "epoch": 2})).await;
    assert_shipped(&shipped, order, "PROD-001", 4);
    let before = row(&stack, order).await;
    for body in [
        json!({"order_id": order}),
        json!({"order_id": order, "epoch": 1}),
        json!({"order_id": order, "epoch": i32::MAX}),
    ] {
        assert_eq!(release(&stack, &body).await, 0, "{body}");
    }
    for (epoch, quantity, status, code) in [
        (1, 4, 409, "stale-epoch"),
        (2, 4, 409, "already-shipped"),
        (i32::MAX, 4, 409, "already-shipped"),
        (2, 5, 422, "reservation-mismatch"),
    ] {
        let body = json!({"product_id": "PROD-001", "quantity": quantity, "order_id": order,
            "epoch": epoch});
        let reserved = stack.inventory.post("/inventory/reserve", &body).await;
        reserved.assert_problem(status, code);
    }
    assert_eq!(row(&stack, order).await, before);
    assert_eq!(figures(&stack, "PROD-001").await, [96, 0, 4, 100]);
    stack.store_orders_of_shipped_reservations().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_ships_and_releases_of_an_order_move_its_stock_once() {
    let stack = Stack::start().await;
    let env = [("DATABASE_URL", stack.database.url())];
    let other = Service::start("inventory", free_port(), &env);
    other.wait_until_ready().await;
    let replicas = [&stack.inventory, &other];
    let order = reserve(&stack, "PROD-002", 3).await;
    let body = json!({"order_id": order, "epoch": 1});
    let ships = (0..40).map(|n| ship(replicas[n % 2], &body));
    for shipped in join_all(ships).await {
        assert_shipped(&shipped, order, "PROD-002", 3);
    }
    assert_eq!(figures(&stack, "PROD-002").await, [47, 0, 3, 50]);

    // Of a ship and a release, the first wins.
    let orders = join_all((0..40).map(|_| reserve(&stack, "PROD-001", 1))).await;
    let ends = orders.iter().enumerate().map(async |(n, order)| {
        let body = json!({"order_id": order, "epoch": 1});
        let (shipped, released) = tokio::join!(
            ship(replicas[n % 2], &body),
            replicas[(n / 2) % 2].post("/inventory/release", &body),
        );
        let was_shipped = shipped.status == 200;
        if !was_shipped {
            shipped.assert_problem(409, "nothing-held");
        }
        let given_back = i64::from(!was_shipped);
        assert_eq!(released.json()["released"], given_back, "{released:?}");
        i64::from(was_shipped)
    });
    let shipped: i64 = join_all(ends).await.iter().sum();
    let expected = [100 - shipped, 0, shipped, 100];
    assert_eq!(figures(&stack, "PROD-001").await, expected);
    stack.store_orders_of_shipped_reservations().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_product_delays_only_the_ships_of_its_orders() {
    let stack = Stack::start().await;
    let products = "INSERT INTO inventory (product_id, stock)
        SELECT 'P' || n, 1 FROM generate_series(1, 20) n";
    stack.database.execute(products).await;
    let locked = join_all((0..10).map(|_| reserve(&stack, "PROD-001", 2))).await;
    let products: Vec<_> = (1..=20).map(|n| format!("P{n}")).collect();
    let free = join_all(products.iter().map(|product| reserve(&stack, product, 1))).await;
    let session = stack.database.session().await;
    let lock = "BEGIN; SELECT FROM inventory WHERE product_id = 'PROD-001' FOR UPDATE";
    session.batch_execute(lock).await.unwrap();
    let orders: Vec<_> = locked.iter().chain(&free).copied().collect();
    let responses = join_all(orders.into_iter().map(async |order| {
        let body = json!({"order_id": order}).to_string();
        let deadline = [("x-deadline-ms", "10000")];
        let path = "/inventory/ship";
        let service = &stack.inventory;
        service
            .request(Method::POST, path, &deadline, Some(&body))
            .await
    }));
    let responses = responses.await;
    let (blocked, shipped) = responses.split_at(locked.len());
    for response in blocked {
        response.assert_problem(503, "locked");
        assert!(
            response.header("retry-after").parse::<u32>().is_ok(),
            "a retry is safe, because nothing was stored: {response:?}"
        );
    }
    for ((response, order), product) in shipped.iter().zip(&free).zip(&products) {
        assert_shipped(response, *order, product, 1);
    }
    let parked = r#"valerix_batch_locked_items_total{work="ship"}"#;
    let parked_items = stack.inventory.metric(parked).await;
    assert!(
        (parked_items - 10.0).abs() < 0.5,
        "ships of other products leave no batch: {parked_items}"
    );
    assert_eq!(figures(&stack, "PROD-001").await, [80, 20, 0, 100]);

    // A ship waits for a short lock.
    let unlock = async {
        eventually("the ship to wait for the lock", async || {
            (stack.inventory.metric(parked).await > 10.5).then_some(())
        })
        .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let body = json!({"order_id": locked[0]});
    let (waited, ()) = tokio::join!(ship(&stack.inventory, &body), unlock);
    assert_shipped(&waited, locked[0], "PROD-001", 2);
    assert_eq!(figures(&stack, "PROD-001").await, [80, 18, 2, 100]);
    stack.store_orders_of_shipped_reservations().await;
    assert!(stack.audit().await.unwrap().clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_of_a_product_that_was_changed_by_hand_are_shipped_once_it_is_corrected() {
    let stack = Stack::start().await;
    let order = reserve(&stack, "PROD-001", 4).await;
    let body = json!({"order_id": order});
    for (change, repair) in [
        (
            "UPDATE inventory SET reserved = 3 WHERE product_id = 'PROD-001'",
            "UPDATE inventory SET reserved = 4 WHERE product_id = 'PROD-001'",
        ),
        (
            "CREATE TABLE kept AS SELECT * FROM inventory; DELETE FROM inventory",
            "INSERT INTO inventory SELECT * FROM kept; DROP TABLE kept",
        ),
    ] {
        stack.database.execute(change).await;
        let rejected = ship(&stack.inventory, &body).await;
        let problem = rejected.assert_problem(409, "stock-mismatch");
        assert_eq!(problem["order_id"], json!(order));
        stack.database.execute(repair).await;
        assert_eq!(figures(&stack, "PROD-001").await, [96, 4, 0, 100]);
    }
    let shipped = ship(&stack.inventory, &body).await;
    assert_shipped(&shipped, order, "PROD-001", 4);
    stack.store_orders_of_shipped_reservations().await;
    stack.assert_clean_audit().await;
}
