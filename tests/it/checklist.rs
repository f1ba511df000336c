//! The checklist of the contract, step by step: health, a fast order, a slow one, and the service
//! level.

use serde_json::json;

use crate::harness::{Stack, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_checklist_passes() {
    let stack = Stack::start().await;
    let health = stack.order.get("/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(
        health["dependencies"],
        json!({
            "database": "connected",
            "inventory-service": "reachable",
            "payment-service": "reachable",
        })
    );
    for (service, name) in [
        (&stack.inventory, "inventory-service"),
        (&stack.payment, "payment-service"),
    ] {
        let health = service.get("/health").await.json();
        assert_eq!(health["service"], name);
        assert_eq!(
            (&health["status"], &health["dependencies"]),
            (&json!("healthy"), &json!({"database": "connected"}))
        );
    }

    let order = stack.place("PROD-001", 1).await;
    assert_eq!(
        (order.status.as_u16(), &order.json()["status"]),
        (201, &json!("CONFIRMED"))
    );

    // With a delay of 3 s, the status alone says that the request did not wait for the response.
    stack.inventory.set_latency(true, 3000).await;
    let slow = stack.place("PROD-001", 1).await;
    assert_eq!(slow.status, 202, "{slow:?}");
    assert_eq!(slow.json()["message"], "Order is being processed");
    assert_eq!(slow.json()["status"], "PENDING_INVENTORY");
    assert!(slow.took.as_secs_f64() >= 1.9, "{:?}", slow.took);
    assert_eq!(
        slow.header("location"),
        format!("/orders/{}", slow.json()["id"].as_str().unwrap())
    );
    assert!(slow.header("retry-after").parse::<u32>().is_ok());

    // With two slow orders and one fast one, the average of the window is above 1 s.
    assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    let sla = stack.order.get("/sla").await.json();
    assert_eq!(sla["status"], "red", "{sla}");

    stack.inventory.set_latency(false, 0).await;
    eventually("orders to be confirmed at once again", async || {
        (stack.place("PROD-001", 1).await.status == 201).then_some(())
    })
    .await;
    eventually("the service level to turn green", async || {
        // Each new fast order lowers the average.
        stack.place("PROD-001", 1).await;
        (stack.order.get("/sla").await.json()["status"] == "green").then_some(())
    })
    .await;
}
