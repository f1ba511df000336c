//! The contents of the database after a campaign.

use std::collections::HashMap;

use tokio_postgres::Client;
use uuid::Uuid;

use crate::platform::observability::trace_context;

/// A row of `orders`.
#[derive(Debug, Clone)]
pub struct StoredOrder {
    pub status: String,
    pub failure_reason: Option<String>,
    pub key: Option<String>,
    pub product_id: String,
    pub quantity: i32,
    /// The trace id of the request that created the order.
    pub trace_id: Option<String>,
}

/// The tables of all three services.
#[derive(Debug, Clone, Default)]
pub struct StoredState {
    pub orders: HashMap<Uuid, StoredOrder>,
    /// The number of successful payments of each order that has any.
    pub payments: HashMap<Uuid, i64>,
    /// The product and quantity that each order holds.
    pub reservations: HashMap<Uuid, (String, i32)>,
    /// The number of units of each product that were ever in stock.
    pub stocked: HashMap<String, i32>,
}

impl StoredState {
    /// # Errors
    /// When the database does not answer.
    pub async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let orders = "SELECT id, status, failure_reason, idempotency_key, product_id, quantity,
            traceparent FROM orders";
        let orders = client.query(orders, &[]).await?;
        let orders = orders.iter().map(|row| {
            let traceparent: Option<&str> = row.get(6);
            let order = StoredOrder {
                status: row.get(1),
                failure_reason: row.get(2),
                key: row.get(3),
                product_id: row.get(4),
                quantity: row.get(5),
                trace_id: traceparent.and_then(trace_context::trace_id_of),
            };
            (row.get(0), order)
        });
        let payments =
            "SELECT order_id, count(*) FROM payments WHERE status = 'SUCCESS' GROUP BY 1";
        let payments = client.query(payments, &[]).await?;
        let reservations =
            "SELECT order_id, product_id, quantity FROM reservations WHERE state = 'HELD'";
        let reservations = client.query(reservations, &[]).await?;
        let reservations = reservations
            .iter()
            .map(|row| (row.get(0), (row.get(1), row.get(2))));
        let stocked = "SELECT product_id, stocked FROM inventory";
        let stocked = client.query(stocked, &[]).await?;
        Ok(Self {
            orders: orders.collect(),
            payments: payments
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect(),
            reservations: reservations.collect(),
            stocked: stocked.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }
}
