//! New products, deliveries and corrections: the answer to each request. Nothing is delivered twice
//! or taken from orders.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Response, Service, Stack, free_port};

impl Stack {
    pub async fn deliver(&self, product_id: &str, body: &Value) -> Response {
        let path = format!("/inventory/{product_id}/deliveries");
        self.inventory.post(&path, body).await
    }
}

#[track_caller]
fn assert_delivered(response: &Response, status: u16, wanted: &Value) {
    assert_eq!(
        (response.status.as_u16(), &response.json()),
        (status, wanted),
        "{response:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_created_once_and_stays_as_it_is() {
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    let created = inventory
        .put("/inventory/NEW-1", &json!({"stock": 12}))
        .await;
    let product = json!({"product_id": "NEW-1", "stock": 12, "reserved": 0,
        "shipped": 0, "stocked": 12});
    assert_delivered(&created, 201, &product);
    assert_eq!(created.header("location"), "/inventory/NEW-1");
    for body in [json!({"stock": 99}), json!({})] {
        let again = inventory.put("/inventory/NEW-1", &body).await;
        assert_delivered(&again, 200, &product);
    }
    let empty = inventory.put("/inventory/NEW-2", &json!({})).await;
    let product = json!({"product_id": "NEW-2", "stock": 0, "reserved": 0,
        "shipped": 0, "stocked": 0});
    assert_delivered(&empty, 201, &product);
    // The largest stock, and an id that a path must escape.
    let largest = inventory
        .put(
            "/inventory/a%2Fb%20%C3%A4",
            &json!({"stock": 2_000_000_000}),
        )
        .await;
    assert_eq!(largest.status, 201, "{largest:?}");
    let location = largest.header("location");
    assert_eq!(location, "/inventory/a%2Fb%20%C3%A4");
    assert_eq!(inventory.get(location).await.json()["product_id"], "a/b ä");
    assert_eq!(stack.place("NEW-1", 12).await.status, 201);

    // Eight requests at once create one product.
    let body = json!({"stock": 5});
    let requests = (0..8).map(|_| inventory.put("/inventory/NEW-3", &body));
    let mut statuses: Vec<_> = join_all(requests)
        .await
        .iter()
        .map(|response| response.status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 7].as_slice(), &[201]].concat());
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_products_and_deliveries_are_rejected_and_change_nothing() {
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    for stock in [json!(-1), json!(2_000_000_001), json!(0.5), json!("1")] {
        let response = inventory
            .put("/inventory/NEW", &json!({"stock": stock}))
            .await;
        let problem = response.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "stock", "{problem}");
    }
    let too_long = format!("/inventory/{}", "x".repeat(256));
    for path in [too_long.as_str(), "/inventory/a%00b"] {
        let response = inventory.put(path, &json!({})).await;
        let problem = response.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "product_id", "{problem}");
    }
    // A product could not be reached at the path of another route.
    let taken = inventory.put("/inventory/reserve", &json!({})).await;
    taken.assert_problem(405, "method-not-allowed");
    for (body, field) in [
        (json!({"quantity": 0}), "quantity"),
        (json!({"quantity": 2_000_000_001}), "quantity"),
        (json!({"quantity": -2_000_000_001}), "quantity"),
        (json!({"quantity": 1.5}), "quantity"),
        (json!({}), "quantity"),
        (json!({"quantity": 1, "delivery_id": ""}), "delivery_id"),
        (json!({"quantity": 1, "delivery_id": 7}), "delivery_id"),
        (
            json!({"quantity": 1, "delivery_id": "x".repeat(256)}),
            "delivery_id",
        ),
    ] {
        let response = stack.deliver("PROD-001", &body).await;
        let problem = response.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    let path = "/inventory/PROD-001/deliveries";
    let unknown = inventory
        .post(&format!("{path}?force=true"), &json!({"quantity": 1}))
        .await;
    unknown.assert_problem(400, "invalid-request");
    let get = inventory.get(path).await;
    get.assert_problem(405, "method-not-allowed");
    assert_eq!(get.header("allow"), "POST");
    for product in ["NOPE", "a%00b", &"x".repeat(256)] {
        let response = stack.deliver(product, &json!({"quantity": 1})).await;
        response.assert_problem(404, "unknown-product");
    }
    let count = "SELECT count(*) FROM deliveries";
    assert_eq!(stack.database.count(count).await, 3, "the opening stock");
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_delivery_has_the_same_answer_and_moves_nothing() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 4).await.status, 201);
    let body = json!({"quantity": 50, "delivery_id": "D-1"});
    let delivery = json!({"delivery_id": "D-1", "product_id": "PROD-001", "quantity": 50,
        "stock": 146, "reserved": 4, "stocked": 150});
    let first = stack.deliver("PROD-001", &body).await;
    assert_delivered(&first, 201, &delivery);
    // Without an id one is made, and is repeatable too.
    let other = stack.deliver("PROD-001", &json!({"quantity": 5})).await;
    assert_eq!(other.status, 201, "{other:?}");
    let id = other.json()["delivery_id"].as_str().unwrap().to_owned();
    let repeated = json!({"quantity": 5, "delivery_id": id});
    assert_delivered(
        &stack.deliver("PROD-001", &repeated).await,
        200,
        &other.json(),
    );
    // The figures are those right after the first delivery.
    assert_delivered(&stack.deliver("PROD-001", &body).await, 200, &delivery);
    for (product, quantity) in [("PROD-001", 51), ("PROD-001", -50), ("PROD-002", 50)] {
        let body = json!({"quantity": quantity, "delivery_id": "D-1"});
        let problem = stack
            .deliver(product, &body)
            .await
            .assert_problem(422, "delivery-mismatch");
        assert_eq!(problem["delivery_id"], "D-1", "{problem}");
    }
    assert_eq!(stack.stock("PROD-001").await, (151, 4));
    assert_eq!(stack.stock("PROD-002").await, (50, 0));

    // Requests of two replicas at once make one delivery.
    let env = [("DATABASE_URL", stack.database.url())];
    let replica = Service::start("inventory", free_port(), &env);
    replica.wait_until_ready().await;
    let body = json!({"quantity": 1, "delivery_id": "D-2"});
    let replicas = [&stack.inventory, &replica].into_iter().cycle().take(20);
    let requests = replicas.map(|service| service.post("/inventory/PROD-002/deliveries", &body));
    let responses = join_all(requests).await;
    let made = responses.iter().filter(|response| response.status == 201);
    assert_eq!(made.count(), 1, "{responses:?}");
    for response in &responses {
        assert_eq!(response.json(), responses[0].json());
        assert!([200, 201].contains(&response.status.as_u16()));
    }
    assert_eq!(stack.stock("PROD-002").await, (51, 0));
    for (outcome, wanted) in [("delivered", 3), ("repeated", 21), ("rejected", 3)] {
        let series = format!(r#"valerix_deliveries_total{{outcome="{outcome}"}}"#);
        let services = [&stack.inventory, &replica];
        let counts = join_all(services.map(|service| service.metric(&series))).await;
        let counted: f64 = counts.into_iter().sum();
        assert!(
            (counted - f64::from(wanted)).abs() < f64::EPSILON,
            "{outcome}: {counted}"
        );
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_takes_only_what_is_in_stock() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-003", 20).await.status, 201);
    let correction = stack.deliver("PROD-003", &json!({"quantity": -3})).await;
    assert_eq!(correction.status, 201, "{correction:?}");
    let body = correction.json();
    assert_eq!(
        [&body["stock"], &body["reserved"], &body["stocked"]],
        [2, 20, 22],
        "{body}"
    );
    // Two units are in stock, and twenty are held for the order.
    for quantity in [-3, -22, -23, -2_000_000_000] {
        let body = json!({"quantity": quantity, "delivery_id": "C-1"});
        let response = stack.deliver("PROD-003", &body).await;
        response.assert_problem(409, "insufficient-stock");
    }
    // A rejected delivery is not stored, so its id is free.
    let body = json!({"quantity": -2, "delivery_id": "C-1"});
    assert_eq!(stack.deliver("PROD-003", &body).await.status, 201);
    assert_eq!(stack.stock("PROD-003").await, (0, 20));
    let metric = r#"valerix_deliveries_total{outcome="corrected"}"#;
    assert!((stack.inventory.metric(metric).await - 2.0).abs() < f64::EPSILON);
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_never_exceeds_its_limit() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    for quantity in [2_000_000_000, 1_999_999_901] {
        let response = stack
            .deliver("PROD-001", &json!({"quantity": quantity}))
            .await;
        response.assert_problem(409, "stock-limit-exceeded");
    }
    let fits = json!({"quantity": 1_999_999_900});
    let full = stack.deliver("PROD-001", &fits).await;
    assert_eq!(full.json()["stocked"], 2_000_000_000, "{full:?}");
    let one_more = stack.deliver("PROD-001", &json!({"quantity": 1})).await;
    one_more.assert_problem(409, "stock-limit-exceeded");
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

/// Corrections and orders compete for the same units, while deliveries add to them.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deliveries_corrections_and_orders_leave_a_clean_audit() {
    // Enough connections for the deliveries, each of which has a transaction of its own.
    let extra = [
        ("PAYMENT_SUCCESS_RATE", "0.8"),
        ("DATABASE_POOL_SIZE", "20"),
    ];
    let stack = Stack::with(&extra).await;
    let changes = (0..50).map(async |n| {
        let quantity = [3, -40, 7, -2, 25][n % 5];
        let body = json!({"quantity": quantity, "delivery_id": format!("D-{}", n % 45)});
        let product = ["PROD-001", "PROD-002"][n % 2];
        let response = stack.deliver(product, &body).await;
        (i64::from(quantity), product, response)
    });
    let orders = (0..60).map(|n| stack.place(["PROD-001", "PROD-002"][n % 2], 3));
    let (changes, orders) = tokio::join!(join_all(changes), join_all(orders));
    for response in &orders {
        let status = response.status.as_u16();
        assert!([201, 202, 402, 409].contains(&status), "{response:?}");
    }
    for (product, opening) in [("PROD-001", 100), ("PROD-002", 50)] {
        let mut wanted = opening;
        for (quantity, _, response) in changes.iter().filter(|change| change.1 == product) {
            match response.status.as_u16() {
                201 => wanted += quantity,
                200 | 422 => {}
                _ => {
                    response.assert_problem(409, "insufficient-stock");
                }
            }
        }
        let shown = stack.inventory.get(&format!("/inventory/{product}")).await;
        assert_eq!(shown.json()["stocked"], wanted, "{product}");
    }
    let made = changes.iter().filter(|change| change.2.status == 201);
    assert!(made.count() >= 25, "{changes:?}");
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(stack.database.count(deadlocks).await, 0);
}
