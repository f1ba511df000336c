//! The HTTP client of customers and operators.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::platform::observability::trace_context;

/// Longer than the API lets a request take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A complete response.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    /// Null if the body is not JSON.
    pub body: Value,
    /// Whether the response has a `Retry-After` header.
    pub retry_after: bool,
    /// Whether the response has a `Location` header.
    pub location: bool,
    /// Whether the response has `Idempotency-Replayed: true`.
    pub replayed: bool,
}

impl Answer {
    /// The `code` of a problem document.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.body["code"].as_str().map(str::to_owned)
    }

    /// The order's id, in an order or in a problem document about one.
    #[must_use]
    pub fn order_id(&self) -> Option<Uuid> {
        let id = self.body["id"].as_str();
        let id = id.or_else(|| self.body["order_id"].as_str());
        id.and_then(|id| Uuid::try_parse(id).ok())
    }
}

/// Sends requests to the order and inventory services. A clone shares the connections.
#[derive(Clone)]
pub struct ApiClient {
    http: awc::Client,
    order_url: String,
    inventory_url: String,
}

impl ApiClient {
    #[must_use]
    pub fn new(order_url: String, inventory_url: String) -> Self {
        Self {
            http: awc::Client::builder().timeout(RESPONSE_TIMEOUT).finish(),
            order_url,
            inventory_url,
        }
    }

    /// Returns `None` when the connection breaks or times out before the response is complete.
    pub async fn place_order(
        &self,
        traceparent: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Option<Answer> {
        let mut call = self.http.post(format!("{}/orders", self.order_url));
        if let Some(key) = key {
            call = call.insert_header(("idempotency-key", key));
        }
        send(call, traceparent, body).await
    }

    /// `path` is relative to the order service. Returns as [`ApiClient::place_order`].
    pub async fn post_to_order(&self, path: &str, traceparent: &str) -> Option<Answer> {
        let call = self.http.post(format!("{}{path}", self.order_url));
        send(call, traceparent, &Value::Null).await
    }

    /// `path` is relative to the inventory service. Returns as [`ApiClient::place_order`].
    pub async fn post_to_inventory(
        &self,
        path: &str,
        traceparent: &str,
        body: &Value,
    ) -> Option<Answer> {
        let call = self.http.post(format!("{}{path}", self.inventory_url));
        send(call, traceparent, body).await
    }

    /// The body of `GET /orders` with this query; null if the orders cannot be listed.
    pub async fn list_orders(&self, query: &str) -> Value {
        let call = self.http.get(format!("{}/orders?{query}", self.order_url));
        let traceparent = trace_context::unsampled_traceparent();
        let answer = send(call, &traceparent, &Value::Null).await;
        answer.unwrap_or_default().body
    }
}

async fn send(call: awc::ClientRequest, traceparent: &str, body: &Value) -> Option<Answer> {
    let call = call.insert_header((trace_context::TRACEPARENT, traceparent));
    let sent = if body.is_null() {
        call.send()
    } else {
        call.send_json(body)
    };
    let mut response = sent.await.ok()?;
    let bytes = response.body().limit(MAX_BODY_BYTES).await.ok()?;
    let headers = response.headers();
    let replayed = headers.get("idempotency-replayed");
    Some(Answer {
        status: response.status().as_u16(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        retry_after: headers.contains_key("retry-after"),
        location: headers.contains_key("location"),
        replayed: replayed.is_some_and(|value| value == "true"),
    })
}
