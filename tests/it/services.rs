//! The responses of each service, row by row of the tables in the contract.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_confirmed_or_failed_with_the_status_of_the_contract() {
    let stack = Stack::start().await;

    let confirmed = stack.place("PROD-002", 3).await;
    assert_eq!(confirmed.status, 201);
    let body = confirmed.json();
    assert_eq!(
        confirmed.header("location"),
        format!("/orders/{}", body["id"].as_str().unwrap())
    );
    assert_eq!(body["trace_id"], confirmed.header("x-trace-id"));
    for (field, value) in [
        ("product_id", json!("PROD-002")),
        ("quantity", json!(3)),
        ("status", json!("CONFIRMED")),
    ] {
        assert_eq!(body[field], value, "{body}");
    }
    assert_eq!(
        (body["failure_reason"].is_null(), &body["message"]),
        (true, &json!("Order confirmed"))
    );
    assert_eq!(stack.stock("PROD-002").await, (47, 3));

    let too_many = stack
        .place("PROD-003", 26)
        .await
        .assert_problem(409, "insufficient-stock");
    let unknown = stack
        .place("PROD-999", 1)
        .await
        .assert_problem(422, "unknown-product");
    for problem in [too_many, unknown] {
        let id = problem["order_id"].as_str().unwrap();
        let order = stack.order.get(&format!("/orders/{id}")).await.json();
        assert_eq!(
            (&order["status"], &order["failure_reason"]),
            (&json!("FAILED"), &problem["code"])
        );
    }
    assert_eq!(stack.stock("PROD-003").await, (25, 0));
}

/// The services build some responses from the request, instead of reading the stored row.
#[tokio::test(flavor = "multi_thread")]
async fn responses_equal_the_stored_rows() {
    let stack = Stack::start().await;
    let place = async || {
        let body = r#"{"product_id":"PROD-001","quantity":2}"#;
        let response = stack
            .order
            .request(
                Method::POST,
                "/orders",
                &[("idempotency-key", "a")],
                Some(body),
            )
            .await;
        assert_eq!(response.status, 201);
        response.json()
    };
    let placed = place().await;
    let mut stored = stack
        .order
        .get(&format!("/orders/{}", placed["id"].as_str().unwrap()))
        .await
        .json();
    stored.as_object_mut().unwrap().remove("events");
    assert_eq!(placed, stored);
    assert_eq!(place().await, stored, "the same response for the same key");

    let charge = |order: Uuid| json!({"order_id": order, "amount": 12.34});
    let single = stack
        .payment
        .post("/payments", &charge(Uuid::new_v4()))
        .await
        .json();
    let batch = json!({"calls": [{"body": charge(Uuid::new_v4())}]});
    let of_batch = stack.payment.post("/payments/batch", &batch).await.json()["body"].clone();
    for charged in [single, of_batch] {
        let stored = stack
            .payment
            .get(&format!("/payments/{}", charged["id"].as_str().unwrap()))
            .await
            .json();
        assert_eq!(charged, stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_fails_the_order_and_releases_its_stock() {
    let stack = Stack::with(&[("PAYMENT_SUCCESS_RATE", "0")]).await;
    let declined = stack
        .place("PROD-001", 5)
        .await
        .assert_problem(402, "payment-declined");
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    let id = declined["order_id"].as_str().unwrap();
    let order = stack.order.get(&format!("/orders/{id}")).await.json();
    let reasons: Vec<_> = order["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["reason"].clone())
        .collect();
    assert_eq!(reasons, ["placed", "payment-declined", "stock-returned"]);
    let payment = stack
        .payment
        .get(&format!("/payments?order_id={id}"))
        .await
        .json();
    assert_eq!(payment["status"], "FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_orders_are_rejected_with_the_names_of_their_fields_and_not_stored() {
    let stack = Stack::start().await;
    let long = "x".repeat(256);
    for (body, fields) in [
        (json!({}), &["product_id", "quantity"][..]),
        (json!({"product_id": "", "quantity": 1}), &["product_id"]),
        (json!({"product_id": long, "quantity": 1}), &["product_id"]),
        (
            json!({"product_id": 7, "quantity": "7"}),
            &["product_id", "quantity"],
        ),
        (
            json!({"product_id": "PROD-001", "quantity": 0}),
            &["quantity"],
        ),
        (
            json!({"product_id": "PROD-001", "quantity": 1001}),
            &["quantity"],
        ),
        (
            json!({"product_id": "PROD-001", "quantity": 1.5}),
            &["quantity"],
        ),
        (
            json!({"product_id": "PROD-001", "quantity": -1}),
            &["quantity"],
        ),
        (
            json!({"product_id": "PROD-001", "quantity": null}),
            &["quantity"],
        ),
        (
            json!({"product_id": "a\u{0}b", "quantity": 1}),
            &["product_id"],
        ),
    ] {
        let problem = stack
            .order
            .post("/orders", &body)
            .await
            .assert_problem(400, "invalid-request");
        let rejected_fields: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| &error["field"])
            .collect();
        assert_eq!(rejected_fields, fields, "{body}");
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"PROD-001\"",
        "{\"product_id\":\"\\ud800\",\"quantity\":1}",
    ] {
        let response = stack
            .order
            .request(Method::POST, "/orders", &[], Some(body))
            .await;
        response.assert_problem(400, "malformed-json");
    }
    let big = format!(
        "{{\"product_id\":\"{}\",\"quantity\":1}}",
        "x".repeat(17_000)
    );
    stack
        .order
        .request(Method::POST, "/orders", &[], Some(&big))
        .await
        .assert_problem(413, "too-large");
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);

    // The longest valid product id, in characters of two bytes.
    let longest = "ü".repeat(255);
    stack
        .place(&longest, 1000)
        .await
        .assert_problem(422, "unknown-product");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_body_is_accepted_with_any_content_type() {
    let stack = Stack::start().await;
    let body = r#"{"product_id":"PROD-001","quantity":1}"#;
    for content_type in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json",
        "x/y; charset=latin1",
    ] {
        let headers = [("content-type", content_type)];
        let response = stack
            .order
            .request(Method::POST, "/orders", &headers, Some(body))
            .await;
        assert_eq!(response.status, 201, "{content_type}: {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_newest_first_page_by_page() {
    let stack = Stack::start().await;
    for product in ["PROD-001", "PROD-002", "PROD-001", "PROD-404", "PROD-001"] {
        stack.place(product, 1).await;
    }
    let list = async |query: &str| stack.order.get(&format!("/orders{query}")).await.json();
    let ids = |page: &Value| -> Vec<String> {
        page["orders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|order| order["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = list("").await;
    assert_eq!((ids(&all).len(), all["next_cursor"].is_null()), (5, true));
    let times: Vec<_> = all["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["created_at"].as_str().unwrap())
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "{times:?}"
    );

    let first = list("?limit=2").await;
    let second = list(&format!(
        "?limit=2&cursor={}",
        first["next_cursor"].as_str().unwrap()
    ))
    .await;
    let third = list(&format!(
        "?limit=2&cursor={}",
        second["next_cursor"].as_str().unwrap()
    ))
    .await;
    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), ids(&all));
    assert!(third["next_cursor"].is_null());

    assert_eq!(ids(&list("?product_id=PROD-001").await).len(), 3);
    assert_eq!(ids(&list("?status=FAILED").await).len(), 1);
    assert_eq!(
        ids(&list("?status=CONFIRMED&product_id=PROD-002").await).len(),
        1
    );
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=x", "limit"),
        ("?status=confirmed", "status"),
        ("?cursor=abc", "cursor"),
        ("?product_id=", "product_id"),
    ] {
        let problem = stack
            .order
            .get(&format!("/orders{query}"))
            .await
            .assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    for id in ["00000000-0000-0000-0000-000000000001", "nonsense"] {
        stack
            .order
            .get(&format!("/orders/{id}"))
            .await
            .assert_problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_reserves_and_releases_once_for_each_order() {
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    let order = Uuid::new_v4();
    let reserve = json!({"product_id": "PROD-001", "quantity": 10, "order_id": order});
    for _ in 0..3 {
        let held = inventory.post("/inventory/reserve", &reserve).await;
        let body = held.json();
        assert_eq!(
            (held.status.as_u16(), &body["stock"], &body["reserved"]),
            (200, &json!(90), &json!(10))
        );
        assert_eq!(
            (&body["order_id"], &body["quantity"]),
            (&json!(order), &json!(10))
        );
    }
    let other = json!({"product_id": "PROD-001", "quantity": 11, "order_id": order});
    inventory
        .post("/inventory/reserve", &other)
        .await
        .assert_problem(422, "reservation-mismatch");

    let release = json!({"order_id": order});
    for released in [10, 0, 0] {
        assert_eq!(
            inventory.post("/inventory/release", &release).await.json()["released"],
            released
        );
    }
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
    inventory
        .post("/inventory/reserve", &reserve)
        .await
        .assert_problem(409, "stale-epoch");

    let with_generated_id = inventory
        .post(
            "/inventory/reserve",
            &json!({"product_id": "PROD-002", "quantity": 1}),
        )
        .await
        .json();
    assert!(
        with_generated_id["order_id"]
            .as_str()
            .is_some_and(|id| id.parse::<Uuid>().is_ok()),
        "{with_generated_id}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_message_of_an_earlier_epoch_changes_nothing() {
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    let order = Uuid::new_v4();
    let reserve = |epoch: i32| {
        json!({
            "product_id": "PROD-001", "quantity": 10, "order_id": order, "epoch": epoch
        })
    };
    let release = |epoch: i32| json!({"order_id": order, "epoch": epoch});
    assert_eq!(
        inventory
            .post("/inventory/reserve", &reserve(1))
            .await
            .status,
        200
    );
    assert_eq!(
        inventory
            .post("/inventory/reserve", &reserve(2))
            .await
            .status,
        200,
        "the new epoch takes over, and the stock stays the same"
    );
    assert_eq!(stack.stock("PROD-001").await, (90, 10));
    assert_eq!(
        inventory
            .post("/inventory/release", &release(1))
            .await
            .json()["released"],
        0,
        "a late release of an earlier epoch"
    );
    inventory
        .post("/inventory/reserve", &reserve(1))
        .await
        .assert_problem(409, "stale-epoch");
    assert_eq!(
        inventory
            .post("/inventory/release", &release(2))
            .await
            .json()["released"],
        10
    );
    inventory
        .post("/inventory/reserve", &reserve(2))
        .await
        .assert_problem(409, "stale-epoch");
    assert_eq!(
        inventory
            .post("/inventory/reserve", &reserve(3))
            .await
            .status,
        200
    );

    // A release that arrives before its reserve.
    let early = Uuid::new_v4();
    assert_eq!(
        inventory
            .post("/inventory/release", &json!({"order_id": early}))
            .await
            .status,
        200
    );
    let late = json!({"product_id": "PROD-001", "quantity": 1, "order_id": early});
    inventory
        .post("/inventory/reserve", &late)
        .await
        .assert_problem(409, "stale-epoch");
    assert_eq!(stack.stock("PROD-001").await, (90, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_rejects_invalid_and_unsatisfiable_requests() {
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    let all = inventory.get("/inventory").await.json();
    let products: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (&p["product_id"], &p["stock"]))
        .collect();
    let stocked = [("PROD-001", 100), ("PROD-002", 50), ("PROD-003", 25)];
    assert_eq!(
        products,
        stocked
            .map(|(p, n)| (json!(p), json!(n)))
            .each_ref()
            .map(|(p, n)| (p, n))
    );
    inventory
        .get("/inventory/NOPE")
        .await
        .assert_problem(404, "unknown-product");
    inventory
        .get("/inventory/a%00b")
        .await
        .assert_problem(404, "unknown-product");
    let post = async |body: Value| inventory.post("/inventory/reserve", &body).await;
    post(json!({"product_id": "NOPE", "quantity": 1}))
        .await
        .assert_problem(404, "unknown-product");
    post(json!({"product_id": "PROD-003", "quantity": 26}))
        .await
        .assert_problem(409, "insufficient-stock");
    let nil = "00000000-0000-0000-0000-000000000000";
    for (extra, field) in [
        (json!({"order_id": "x"}), "order_id"),
        (json!({"order_id": nil}), "order_id"),
        (json!({"epoch": 0}), "epoch"),
        (json!({"epoch": -1}), "epoch"),
        (json!({"epoch": 1e10}), "epoch"),
    ] {
        let mut body = json!({"product_id": "PROD-001", "quantity": 1});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let problem = post(body).await.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let no_order = inventory
        .post("/inventory/release", &json!({}))
        .await
        .assert_problem(400, "invalid-request");
    assert_eq!(no_order["errors"][0]["field"], "order_id");
    assert_eq!(
        stack
            .database
            .count("SELECT count(*) FROM reservations")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reserves_never_oversell_a_product() {
    let stack = Stack::start().await;
    let body = json!({"product_id": "PROD-003", "quantity": 1});
    let requests = (0..60).map(|_| async {
        stack
            .inventory
            .post("/inventory/reserve", &body)
            .await
            .status
            .as_u16()
    });
    let responses = futures_util::future::join_all(requests).await;
    assert_eq!(
        responses.iter().filter(|status| **status == 200).count(),
        25
    );
    assert_eq!(
        responses.iter().filter(|status| **status == 409).count(),
        35
    );
    assert_eq!(stack.stock("PROD-003").await, (0, 25));
}

#[tokio::test(flavor = "multi_thread")]
async fn payment_charges_once_and_a_void_is_final() {
    let stack = Stack::start().await;
    let payment = &stack.payment;
    let order = json!({"order_id": Uuid::new_v4()});
    let first = payment.post("/payments", &order).await;
    assert_eq!(
        (
            first.status.as_u16(),
            &first.json()["status"],
            &first.json()["amount"]
        ),
        (201, &json!("SUCCESS"), &json!(99.99))
    );
    let again = payment.post("/payments", &order).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, first.json()));
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        payment.get(&format!("/payments/{id}")).await.json(),
        first.json()
    );

    for _ in 0..2 {
        let voided = payment.post("/payments/void", &order).await;
        assert_eq!(
            (voided.status.as_u16(), &voided.json()["status"]),
            (200, &json!("REFUNDED"))
        );
    }
    let after = payment.post("/payments", &order).await;
    assert_eq!(
        (after.status.as_u16(), &after.json()["status"]),
        (402, &json!("REFUNDED"))
    );

    let early = json!({"order_id": Uuid::new_v4(), "amount": 12.5});
    assert_eq!(
        payment.post("/payments/void", &early).await.json()["status"],
        "VOIDED"
    );
    let late = payment.post("/payments", &early).await;
    assert_eq!(
        (late.status.as_u16(), &late.json()["status"]),
        (402, &json!("VOIDED"))
    );

    let priced = json!({"order_id": Uuid::new_v4(), "amount": 12.5});
    assert_eq!(
        payment.post("/payments", &priced).await.json()["amount"],
        12.5
    );
    for (amount, epoch) in [(12.51, None), (99.99, None), (12.51, Some(1))] {
        let other = json!({"order_id": priced["order_id"], "amount": amount, "epoch": epoch});
        let problem = payment
            .post("/payments", &other)
            .await
            .assert_problem(422, "payment-mismatch");
        assert_eq!(problem["order_id"], priced["order_id"]);
    }
    for body in [priced.clone(), json!({"order_id": priced["order_id"]})] {
        let again = payment.post("/payments", &body).await;
        assert_eq!(
            (again.status.as_u16(), &again.json()["amount"]),
            (200, &json!(12.5))
        );
    }

    payment
        .get(&format!("/payments?order_id={}", Uuid::new_v4()))
        .await
        .assert_problem(404, "unknown-payment");
    payment
        .get(&format!("/payments/{}", Uuid::new_v4()))
        .await
        .assert_problem(404, "unknown-payment");
    payment
        .get("/payments")
        .await
        .assert_problem(400, "invalid-request");
    for amount in [json!(0), json!(-1), json!(0.001), json!(1e9), json!("9.99")] {
        let body = json!({"order_id": Uuid::new_v4(), "amount": amount});
        let problem = payment
            .post("/payments", &body)
            .await
            .assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "amount");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_charges_of_one_order_charge_it_once() {
    let stack = Stack::with(&[("PAYMENT_LATENCY_MS", "50")]).await;
    let order = json!({"order_id": Uuid::new_v4()});
    let responses =
        futures_util::future::join_all((0..20).map(|_| stack.payment.post("/payments", &order)))
            .await;
    let created = responses
        .iter()
        .filter(|response| response.status == 201)
        .count();
    assert_eq!(
        (
            created,
            responses
                .iter()
                .filter(|response| response.status == 200)
                .count()
        ),
        (1, 19)
    );
    assert_eq!(
        stack.database.count("SELECT count(*) FROM payments").await,
        1
    );
}
