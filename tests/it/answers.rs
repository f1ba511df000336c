//! What a 503 promises: with `Retry-After` nothing was done and nothing will be; where the database
//! did not say in time, the outcome is called unknown.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::own::{Own, RELOAD, place, takes_orders_again};
use crate::harness::{Answer, Service, eventually, free_port};

const ORDER: &str = r#"{"product_id":"PROD-001","quantity":1}"#;

/// Commits wait for a standby that does not exist, and are stored all the same.
async fn commits_wait(own: &Own) {
    own.execute(&[
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        RELOAD,
    ])
    .await;
}

async fn commits_go_on(own: &Own) {
    own.execute(&["ALTER SYSTEM RESET synchronous_standby_names", RELOAD])
        .await;
}

#[track_caller]
fn is_unknown(answer: &Answer) -> String {
    let problem = answer.is_problem(503, "outcome-unknown");
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

async fn eventually_stored(service: &Service, id: &str) -> Value {
    eventually("the order to be seen", async || {
        let answer = service.get(&format!("/orders/{id}")).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_commit_waits_is_called_unknown_and_can_be_found() {
    let own = Own::start(Vec::new()).await;
    let service = own.order_service(&[]).await;
    assert_eq!(place(&service).await.status, 202);
    commits_wait(&own).await;
    // The setting reaches each session a little later.
    let unkeyed = eventually("a commit to wait", async || {
        let answer = place(&service).await;
        (answer.status != 202).then_some(answer)
    })
    .await;
    let id = is_unknown(&unkeyed);
    assert!(
        unkeyed.headers.get("retry-after").is_none(),
        "repeating it could make a second order"
    );
    let key = [("idempotency-key", "k")];
    let keyed = service
        .request(Method::POST, "/orders", &key, Some(ORDER))
        .await;
    let keyed_id = is_unknown(&keyed);
    assert!(
        keyed.header("retry-after").parse::<u32>().is_ok(),
        "a key makes repeating safe"
    );
    commits_go_on(&own).await;
    eventually_stored(&service, &id).await;
    eventually_stored(&service, &keyed_id).await;
    // Until its lease ends, the first request counts as being in progress.
    let again = eventually("the key to tell how its order stands", async || {
        let again = service
            .request(Method::POST, "/orders", &key, Some(ORDER))
            .await;
        (again.status != 409).then_some(again)
    })
    .await;
    assert_eq!(
        (again.status.as_u16(), again.json()["id"].as_str()),
        (202, Some(keyed_id.as_str()))
    );
    let mistakes = service
        .lines()
        .into_iter()
        .filter(|line| line.contains("internal-error"));
    assert_eq!(mistakes.count(), 0);
    own.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_told_to_come_again_was_not_stored_and_never_will_be() {
    let own = Own::start(Vec::new()).await;
    let service = own.order_service(&[]).await;
    assert_eq!(place(&service).await.status, 202);
    let mut promised = 1;
    let locker = own.client().await;
    // Locks of every length around the limits: none of the orders may be stored once it was
    // refused.
    for milliseconds in [900, 1400, 1600, 2300, 2800] {
        locker
            .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        let orders = (0..8).map(|_| place(&service));
        let (answers, ()) = tokio::join!(futures_util::future::join_all(orders), async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            locker.batch_execute("COMMIT").await.unwrap();
        });
        for answer in answers {
            assert!([202, 503].contains(&answer.status.as_u16()), "{answer:?}");
            if answer.status == 202 {
                promised += 1;
            } else {
                let problem = answer.json();
                assert_ne!(problem["code"], "outcome-unknown", "{problem}");
                assert!(answer.header("retry-after").parse::<u32>().is_ok());
            }
        }
    }
    takes_orders_again(&service).await;
    promised += 1;
    let stored: i64 = own
        .client()
        .await
        .query_one("SELECT count(*) FROM orders", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        stored, promised,
        "each order in the table was promised to somebody"
    );
    own.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_and_payment_do_not_promise_what_they_do_not_know() {
    let own = Own::start(Vec::new()).await;
    let env = [("DATABASE_URL", own.server.url("postgres"))];
    let inventory = Service::start("inventory", free_port(), &env);
    let payment = Service::start("payment", free_port(), &env);
    tokio::join!(inventory.ready(), payment.ready());
    commits_wait(&own).await;
    for (service, path) in [
        (&inventory, "/inventory/reserve"),
        (&inventory, "/inventory/release"),
        (&payment, "/payments"),
        (&payment, "/payments/void"),
    ] {
        // Each about rows of its own, since a commit that waits keeps its rows locked. The setting
        // reaches a session late.
        let answer = eventually("a commit to wait", async || {
            let order =
                json!({"order_id": uuid::Uuid::new_v4(), "product_id": "PROD-001", "quantity": 1});
            let answer = service.post(path, &order).await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        let problem = answer.is_problem(503, "outcome-unknown");
        assert!(problem["order_id"].is_string(), "{path}: {problem}");
        assert!(
            answer.headers.get("retry-after").is_none(),
            "{path}: {answer:?}"
        );
    }
    commits_go_on(&own).await;
    own.end().await;
}

/// Ended between the statement and its acknowledgement: the server may have committed.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_session_is_ended_while_its_commit_waits_is_called_unknown() {
    let own = Own::start(Vec::new()).await;
    let service = own.order_service(&[]).await;
    assert_eq!(place(&service).await.status, 202);
    commits_wait(&own).await;
    let end = async {
        let client = own.client().await;
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("a commit to wait", async || {
            let ended: i64 = client.query_one(waiting, &[]).await.unwrap().get(0);
            (ended > 0).then_some(())
        })
        .await;
    };
    let (answer, ()) = tokio::join!(place(&service), end);
    let id = is_unknown(&answer);
    commits_go_on(&own).await;
    eventually_stored(&service, &id).await;
    own.end().await;
}
