//! Deliveries under faults: a locked product, a deadline that has passed, and lost answers.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Stack, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_waits_for_a_locked_product_until_its_deadline() {
    let stack = Stack::start().await;
    let session = stack.database.session().await;
    let lock = "BEGIN; SELECT FROM inventory WHERE product_id = 'PROD-001' FOR UPDATE";
    session.batch_execute(lock).await.unwrap();
    let path = "/inventory/PROD-001/deliveries";
    let body = json!({"quantity": 1, "delivery_id": "D"}).to_string();
    let deadline = [("x-deadline-ms", "2000")];
    let locked = stack
        .inventory
        .request(Method::POST, path, &deadline, Some(&body))
        .await;
    locked.assert_problem(503, "locked");
    assert!(locked.header("retry-after").parse::<u32>().is_ok());
    let other = stack.deliver("PROD-002", &json!({"quantity": 1})).await;
    assert_eq!(other.status, 201, "other products are not affected");
    let existing = stack.inventory.put("/inventory/PROD-001", &json!({})).await;
    assert_eq!(existing.status, 200, "nothing is to be changed");
    let unlock = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the delivery to wait", async || {
            (stack.database.count(waiting).await > 0).then_some(())
        })
        .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let retried = stack
        .inventory
        .request(Method::POST, path, &[], Some(&body));
    let (retried, ()) = tokio::join!(retried, unlock);
    assert_eq!(retried.status, 201, "{retried:?}");
    assert_eq!(stack.stock("PROD-001").await, (101, 0));

    let late = stack
        .inventory
        .request(Method::POST, path, &[("x-deadline-ms", "0")], Some(&body))
        .await;
    late.assert_problem(503, "deadline-passed");
    let late = stack
        .inventory
        .request(
            Method::PUT,
            "/inventory/LATE",
            &[("x-deadline-ms", "0")],
            Some("{}"),
        )
        .await;
    late.assert_problem(503, "deadline-passed");
    let created = "SELECT count(*) FROM inventory WHERE product_id = 'LATE'";
    assert_eq!(stack.database.count(created).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gremlin_hits_deliveries_and_a_vanished_answer_is_not_delivered_twice() {
    let mut stack = Stack::start().await;
    let body = json!({"quantity": 1, "delivery_id": "D"});
    for kind in ["vanish", "crash"] {
        let rule = json!({"kind": kind, "route": "/inventory/{product_id}/deliveries",
            "product_id": "PROD-002", "max_fires": 1});
        stack.inventory.add_gremlin_rule(rule).await;
        let other = stack.deliver("PROD-001", &json!({"quantity": 1})).await;
        assert_eq!(other.status, 201, "the rule is for another product");
        let path = "/inventory/PROD-002/deliveries";
        let lost = stack
            .inventory
            .try_request(Method::POST, path, &[], Some(&body.to_string()))
            .await;
        assert!(lost.is_err(), "{kind}: {lost:?}");
        if kind == "crash" {
            stack.restart_inventory(&[]).await;
        }
        let repeated = stack.deliver("PROD-002", &body).await;
        assert_eq!(repeated.status, 200, "{kind}: {repeated:?}");
    }
    let error = json!({"kind": "error", "method": "PUT"});
    stack.inventory.add_gremlin_rule(error).await;
    let injected = stack.inventory.put("/inventory/NEW", &json!({})).await;
    injected.assert_problem(500, "injected-fault");
    assert_eq!(stack.stock("PROD-002").await, (51, 0));
    stack.assert_clean_audit().await;
}
