//! `OPERATOR_TOKEN`: which requests need it, and how it goes together with `SERVICE_TOKEN`.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Service, Stack, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn operators_need_their_token_when_one_is_set() {
    let tokens = [("OPERATOR_TOKEN", "op3rator"), ("SERVICE_TOKEN", "s3rvice")];
    let stack = Stack::with(&tokens).await;
    let inventory = &stack.inventory;
    let requests = [
        (Method::PUT, "/inventory/NEW", r#"{"stock":1}"#),
        (
            Method::POST,
            "/inventory/PROD-001/deliveries",
            r#"{"quantity":1}"#,
        ),
    ];
    for (method, path, body) in requests {
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "op3rator")],
            &[("authorization", "Bearer s3rvice")],
        ] {
            let send = |body| inventory.request(method.clone(), path, headers, Some(body));
            send(body).await.assert_problem(401, "unauthorized");
            // The body of a stranger is not even read.
            send("not JSON").await.assert_problem(401, "unauthorized");
        }
        let operator = [("authorization", "Bearer op3rator")];
        let response = inventory.request(method, path, &operator, Some(body)).await;
        assert_eq!(response.status, 201, "{response:?}");
    }
    // Operators read the stock, and do not act as a service.
    let operator = [("authorization", "Bearer op3rator")];
    for (path, headers, status) in [
        ("/inventory", &operator[..], 200),
        ("/inventory/NEW", &operator, 200),
        ("/inventory", &[("authorization", "Bearer s3rvice")], 200),
        ("/inventory", &[], 401),
    ] {
        let response = inventory.request(Method::GET, path, headers, None).await;
        assert_eq!(response.status, status, "{path}: {response:?}");
    }
    let reserve = r#"{"product_id":"PROD-001","quantity":1}"#;
    inventory
        .request(Method::POST, "/inventory/reserve", &operator, Some(reserve))
        .await
        .assert_problem(401, "unauthorized");
    stack
        .payment
        .request(Method::GET, "/payments/x", &operator, None)
        .await
        .assert_problem(401, "unauthorized");
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let lines = stack.lines().concat();
    assert!(!lines.contains("op3rator") && !lines.contains("s3rvice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_the_services_does_not_lock_operators_out() {
    let stack = Stack::with(&[("SERVICE_TOKEN", "s3rvice")]).await;
    let created = stack.inventory.put("/inventory/NEW", &json!({})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let delivered = stack.deliver("NEW", &json!({"quantity": 1})).await;
    assert_eq!(delivered.status, 201, "{delivered:?}");
    let listed = stack.inventory.get("/inventory").await;
    listed.assert_problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_a_public_address_warns_of_open_routes_for_operators() {
    let stack = Stack::start().await;
    let warning = "can use the routes for operators";
    assert!(!stack.lines().iter().any(|line| line.contains(warning)));
    for (role, token, is_warned) in [
        ("order", "", true),
        ("order", "s3cret", false),
        ("inventory", "", true),
        ("inventory", "s3cret", false),
        ("payment", "", false),
    ] {
        let env = [
            ("DATABASE_URL", stack.database.url()),
            ("HOST", "0.0.0.0".to_owned()),
            ("OPERATOR_TOKEN", token.to_owned()),
        ];
        let service = Service::start(role, free_port(), &env);
        service.wait_until_ready().await;
        if is_warned {
            service.wait_for_line(warning).await;
        } else {
            let lines = service.lines();
            let found = lines.iter().any(|line| line.contains(warning));
            assert!(!found, "{role} {token:?}: {lines:#?}");
        }
    }
}
