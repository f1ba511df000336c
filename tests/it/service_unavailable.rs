//! What a 503 promises. With `Retry-After`, nothing was stored and nothing will be. If the database
//! did not confirm in time, the code is `outcome-unknown`.

use std::cell::RefCell;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::dedicated_postgres::{
    DedicatedPostgres, RELOAD, place_order, wait_until_orders_are_accepted,
};
use crate::harness::{Response, Service, eventually, free_port};

const ORDER: &str = r#"{"product_id":"PROD-001","quantity":1}"#;

/// Makes commits wait for a standby that does not exist. Their changes are stored nevertheless.
async fn make_commits_wait(postgres: &DedicatedPostgres) {
    postgres
        .execute(&[
            "ALTER SYSTEM SET synchronous_standby_names = 'absent'",
            RELOAD,
        ])
        .await;
}

async fn let_commits_finish(postgres: &DedicatedPostgres) {
    postgres
        .execute(&["ALTER SYSTEM RESET synchronous_standby_names", RELOAD])
        .await;
}

/// Checks that the response is `outcome-unknown`, and returns the id of the order that it names.
#[track_caller]
fn assert_outcome_unknown(response: &Response) -> String {
    let problem = response.assert_problem(503, "outcome-unknown");
    let id = problem["order_id"].as_str().unwrap().to_owned();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains(&format!("GET /orders/{id}")),
        "{problem}"
    );
    id
}

async fn wait_until_stored(service: &Service, id: &str) -> Value {
    eventually("the order to be found", async || {
        let response = service.get(&format!("/orders/{id}")).await;
        (response.status == 200).then(|| response.json())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_commit_waits_is_answered_outcome_unknown_and_can_be_found() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let service = postgres.order_service(&[]).await;
    assert_eq!(place_order(&service).await.status, 202);
    make_commits_wait(&postgres).await;
    // Each session reads the new setting a little later.
    let without_key = eventually("a commit to wait", async || {
        let response = place_order(&service).await;
        (response.status != 202).then_some(response)
    })
    .await;
    let id = assert_outcome_unknown(&without_key);
    assert!(
        without_key.headers.get("retry-after").is_none(),
        "without a key, a retry could create a second order"
    );
    let key = [("idempotency-key", "k")];
    let with_key = service
        .request(Method::POST, "/orders", &key, Some(ORDER))
        .await;
    let id_with_key = assert_outcome_unknown(&with_key);
    assert!(
        with_key.header("retry-after").parse::<u32>().is_ok(),
        "a key makes a retry safe"
    );
    let_commits_finish(&postgres).await;
    wait_until_stored(&service, &id).await;
    wait_until_stored(&service, &id_with_key).await;
    // Until its lease ends, the first request counts as in progress.
    let again = eventually("the key to return its order", async || {
        let again = service
            .request(Method::POST, "/orders", &key, Some(ORDER))
            .await;
        (again.status != 409).then_some(again)
    })
    .await;
    assert_eq!(
        (again.status.as_u16(), again.json()["id"].as_str()),
        (202, Some(id_with_key.as_str()))
    );
    let internal_errors = service
        .lines()
        .into_iter()
        .filter(|line| line.contains("internal-error"));
    assert_eq!(internal_errors.count(), 0);
    postgres.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_commit_waits_is_answered_outcome_unknown_and_can_be_repeated() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let env = [("DATABASE_URL", postgres.server.url("postgres"))];
    let service = Service::start("inventory", free_port(), &env);
    service.wait_until_ready().await;
    let deliver = async |product_id: &str, body: &Value| {
        let path = format!("/inventory/{product_id}/deliveries");
        service.post(&path, body).await
    };
    make_commits_wait(&postgres).await;
    // Each session reads the new setting a little later.
    let without_id = eventually("a commit to wait", async || {
        let response = deliver("PROD-001", &json!({"quantity": 1})).await;
        (response.status != 201).then_some(response)
    })
    .await;
    let problem = without_id.assert_problem(503, "outcome-unknown");
    assert!(
        without_id.headers.get("retry-after").is_none(),
        "without an id, the same request could deliver twice: {problem}"
    );
    let named = json!({"quantity": 1, "delivery_id": "D"});
    // The transaction that waits keeps the first product locked.
    let with_id = deliver("PROD-002", &named).await;
    assert_eq!(
        with_id.assert_problem(503, "outcome-unknown")["delivery_id"],
        "D"
    );
    assert!(with_id.header("retry-after").parse::<u32>().is_ok());
    let created = service.put("/inventory/NEW", &json!({})).await;
    created.assert_problem(503, "outcome-unknown");
    let_commits_finish(&postgres).await;
    let repeated = json!({"quantity": 1, "delivery_id": problem["delivery_id"]});
    for (product_id, body) in [("PROD-001", repeated), ("PROD-002", named)] {
        let response = eventually("the delivery to be answered", async || {
            let response = deliver(product_id, &body).await;
            (response.status != 503).then_some(response)
        })
        .await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let sum = "SELECT bool_and(stocked = (SELECT COALESCE(sum(quantity), 0) FROM deliveries d
            WHERE d.product_id = i.product_id))
        FROM inventory i";
    let row = postgres.client().await.query_one(sum, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    drop(service);
    postgres.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_rejected_with_retry_after_is_never_stored() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let service = postgres.order_service(&[]).await;
    assert_eq!(place_order(&service).await.status, 202);
    let mut accepted = 1;
    let locker = postgres.client().await;
    // Locks that last a little less or more than each timeout. An order that was rejected must not
    // be stored later.
    for milliseconds in [900, 1400, 1600, 2300, 2800] {
        locker
            .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        let orders = (0..8).map(|_| place_order(&service));
        let (responses, ()) = tokio::join!(futures_util::future::join_all(orders), async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            locker.batch_execute("COMMIT").await.unwrap();
        });
        for response in responses {
            assert!(
                [202, 503].contains(&response.status.as_u16()),
                "{response:?}"
            );
            if response.status == 202 {
                accepted += 1;
            } else {
                let problem = response.json();
                assert_ne!(problem["code"], "outcome-unknown", "{problem}");
                assert!(response.header("retry-after").parse::<u32>().is_ok());
            }
        }
    }
    wait_until_orders_are_accepted(&service).await;
    accepted += 1;
    let stored: i64 = postgres
        .client()
        .await
        .query_one("SELECT count(*) FROM orders", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        stored, accepted,
        "each stored order was accepted by its response"
    );
    postgres.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_and_payment_answer_outcome_unknown_while_a_commit_waits() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let env = [("DATABASE_URL", postgres.server.url("postgres"))];
    let inventory = Service::start("inventory", free_port(), &env);
    let payment = Service::start("payment", free_port(), &env);
    tokio::join!(inventory.wait_until_ready(), payment.wait_until_ready());
    // A ship changes nothing unless its order holds something.
    let order = || json!({"order_id": Uuid::new_v4(), "product_id": "PROD-002", "quantity": 1});
    let held: Vec<_> = std::iter::repeat_with(order).take(50).collect();
    for order in &held {
        let reserved = inventory.post("/inventory/reserve", order).await;
        assert_eq!(reserved.status, 200, "{reserved:?}");
    }
    make_commits_wait(&postgres).await;
    let held = RefCell::new(held.into_iter());
    for (service, path) in [
        (&inventory, "/inventory/reserve"),
        (&inventory, "/inventory/release"),
        (&inventory, "/inventory/ship"),
        (&payment, "/payments"),
        (&payment, "/payments/void"),
    ] {
        // Each request has an order of its own, because a waiting commit keeps its rows locked. The
        // request is repeated, because a session reads the new setting late.
        let response = eventually("a commit to wait", async || {
            let order = if path == "/inventory/ship" {
                held.borrow_mut().next().expect("not all are shipped")
            } else {
                json!({"order_id": Uuid::new_v4(), "product_id": "PROD-001", "quantity": 1})
            };
            let response = service.post(path, &order).await;
            (response.status == 503).then_some(response)
        })
        .await;
        let problem = response.assert_problem(503, "outcome-unknown");
        assert!(problem["order_id"].is_string(), "{path}: {problem}");
        assert!(
            response.headers.get("retry-after").is_none(),
            "{path}: {response:?}"
        );
    }
    let_commits_finish(&postgres).await;
    postgres.end().await;
}

/// The session ends between the commit and its acknowledgement, so the service cannot know whether
/// the server has committed.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_session_ends_while_its_commit_waits_is_answered_outcome_unknown() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let service = postgres.order_service(&[]).await;
    assert_eq!(place_order(&service).await.status, 202);
    make_commits_wait(&postgres).await;
    let client = postgres.client().await;
    let end_waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE wait_event = 'SyncRep'";
    let end_session = async || {
        eventually("a commit to wait", async || {
            let ended: i64 = client.query_one(end_waiting, &[]).await.unwrap().get(0);
            (ended > 0).then_some(())
        })
        .await;
    };
    // The order is repeated, because a session reads the new setting late: its insert may not wait.
    let response = eventually("the insert of an order to wait", async || {
        let (response, ()) = tokio::join!(place_order(&service), end_session());
        (response.status != 202).then_some(response)
    })
    .await;
    let id = assert_outcome_unknown(&response);
    let_commits_finish(&postgres).await;
    wait_until_stored(&service, &id).await;
    postgres.end().await;
}
