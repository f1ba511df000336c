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
    pub shipment_owed: bool,
    /// Whether the goods have left.
    pub fulfilled: bool,
}

impl StoredOrder {
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.status == "FAILED" && self.failure_reason.as_deref() == Some("cancelled")
    }
}

/// A reservation that is held or shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReservation {
    pub product_id: String,
    pub quantity: i32,
    pub shipped: bool,
}

/// A row of `deliveries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    pub product_id: String,
    pub quantity: i32,
}

/// The tables of all three services.
#[derive(Debug, Clone, Default)]
pub struct StoredState {
    pub orders: HashMap<Uuid, StoredOrder>,
    /// The number of successful payments of each order that has any.
    pub payments: HashMap<Uuid, i64>,
    /// The held or shipped reservation of each order that has one.
    pub reservations: HashMap<Uuid, StoredReservation>,
    pub deliveries: HashMap<String, StoredDelivery>,
    /// The number of units of each product that were ever in stock.
    pub stocked: HashMap<String, i32>,
}

impl StoredState {
    /// # Errors
    /// When the database does not answer.
    pub async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let orders = "SELECT id, status, failure_reason, idempotency_key, product_id, quantity,
            traceparent, shipment_owed, fulfilled_at IS NOT NULL FROM orders";
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
                shipment_owed: row.get(7),
                fulfilled: row.get(8),
            };
            (row.get(0), order)
        });
        let payments =
            "SELECT order_id, count(*) FROM payments WHERE status = 'SUCCESS' GROUP BY 1";
        let payments = client.query(payments, &[]).await?;
        let reservations = "SELECT order_id, product_id, quantity, state = 'SHIPPED'
            FROM reservations WHERE state <> 'RELEASED'";
        let reservations = client.query(reservations, &[]).await?;
        let reservations = reservations.iter().map(|row| {
            let reservation = StoredReservation {
                product_id: row.get(1),
                quantity: row.get(2),
                shipped: row.get(3),
            };
            (row.get(0), reservation)
        });
        let deliveries = "SELECT delivery_id, product_id, quantity FROM deliveries";
        let deliveries = client.query(deliveries, &[]).await?;
        let deliveries = deliveries.iter().map(|row| {
            let delivery = StoredDelivery {
                product_id: row.get(1),
                quantity: row.get(2),
            };
            (row.get(0), delivery)
        });
        let stocked = "SELECT product_id, stocked FROM inventory";
        let stocked = client.query(stocked, &[]).await?;
        Ok(Self {
            orders: orders.collect(),
            payments: payments
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect(),
            reservations: reservations.collect(),
            deliveries: deliveries.collect(),
            stocked: stocked.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }
}
