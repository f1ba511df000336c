//! The actions of operators, and what the platform then holds for an order.

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{Response, Service, Stack, eventually};

impl Service {
    /// Sends `cancel`, `fulfil` or `retry`.
    pub async fn act(&self, action: &str, order_id: &str) -> Response {
        let path = format!("/orders/{order_id}/{action}");
        self.request(Method::POST, &path, &[], None).await
    }

    /// The order as `GET /orders/{id}` shows it.
    pub async fn order(&self, id: &str) -> Value {
        let response = self.get(&format!("/orders/{id}")).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }
}

impl Response {
    /// The id of the order in the body, or in the problem.
    #[track_caller]
    pub fn order_id(&self) -> String {
        let body = self.json();
        let id = body["id"].as_str().or(body["order_id"].as_str());
        id.unwrap_or_else(|| panic!("no order: {self:?}"))
            .to_owned()
    }
}

impl Stack {
    /// Places an order that is confirmed, and returns its id.
    pub async fn confirmed(&self, product_id: &str, quantity: i32) -> String {
        let placed = self.place(product_id, quantity).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        placed.order_id()
    }

    /// Places an order whose payment is declined, and returns its id. The first order after a
    /// restart of payment may go to a closed connection of the old process, and is then finished
    /// later.
    pub async fn declined(&self, product_id: &str) -> String {
        eventually("an order to be declined", async || {
            let placed = self.place(product_id, 1).await;
            (placed.status == 402).then(|| placed.order_id())
        })
        .await
    }

    /// Stores a pending order with a lease, as a request does before the first step, and returns
    /// its id.
    pub async fn store_pending(&self) -> String {
        let id = Uuid::new_v4().to_string();
        let insert = format!(
            "INSERT INTO orders (id, product_id, quantity, lease_until)
             VALUES ('{id}', 'PROD-001', 2, now() + interval '1 hour')"
        );
        self.database.execute(&insert).await;
        id
    }

    /// The order's row, as text.
    pub async fn row(&self, id: &str) -> String {
        let row = format!("SELECT o::text FROM orders o WHERE id = '{id}'");
        self.database.query(&row).await[0].get(0)
    }

    /// The state of the order's reservation, and the status of its payment, in this form:
    /// `HELD SUCCESS`. A dash stands for a row that does not exist.
    pub async fn holdings(&self, id: &str) -> String {
        let statement = format!(
            "SELECT COALESCE((SELECT state FROM reservations WHERE order_id = '{id}'), '-')
                 || ' ' || COALESCE((SELECT status FROM payments WHERE order_id = '{id}'), '-')"
        );
        self.database.query(&statement).await[0].get(0)
    }

    /// The reasons of the order's events, oldest first.
    pub async fn reasons(&self, id: &str) -> Vec<String> {
        let order = self.order.order(id).await;
        let events = order["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect()
    }
}
