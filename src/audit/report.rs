//! The result of an audit.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Holds without an order that an audit lists.
pub const MAX_HOLDS: usize = 20;
/// Violations that an invariant names.
pub const MAX_EXAMPLES: usize = 5;

/// `GET /audit`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// When the snapshot of the orders was taken.
    pub at: DateTime<Utc>,
    /// No invariant is violated.
    pub clean: bool,
    pub invariants: Vec<Invariant>,
    /// The first 100 products by id. The invariants cover all products.
    pub products: Vec<Product>,
    pub orders: Orders,
    /// The first 20 of `orders.reservations_without_order`, by order id. A client made them
    /// directly at the inventory service, or their orders were lost. `POST /inventory/release`
    /// releases one.
    #[serde(default)]
    pub holds_without_order: Vec<HoldWithoutOrder>,
}

/// Whether no invariant is violated.
#[must_use]
pub fn is_clean(invariants: &[Invariant]) -> bool {
    violated(invariants) == 0
}

pub(super) fn violated(invariants: &[Invariant]) -> usize {
    let violated = |invariant: &&Invariant| invariant.violations > 0;
    invariants.iter().filter(violated).count()
}

/// An invariant, and how many rows violate it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invariant {
    /// Stable, kebab-case.
    pub name: String,
    pub meaning: String,
    /// Number of rows that were checked.
    pub checked: i64,
    pub violations: i64,
    /// Up to five violations, by id. `states-are-known` also names the table and the state.
    pub examples: Vec<String>,
}

/// Stock of one product: stocked = available + reserved + shipped, and reserved = held.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, QueryableByName)]
pub struct Product {
    #[diesel(sql_type = Text)]
    pub product_id: String,
    #[diesel(sql_type = BigInt)]
    pub stocked: i64,
    #[diesel(sql_type = BigInt)]
    pub available: i64,
    #[diesel(sql_type = BigInt)]
    pub reserved: i64,
    #[diesel(sql_type = BigInt)]
    pub shipped: i64,
    /// Sum of the held reservations.
    #[diesel(sql_type = BigInt)]
    pub held: i64,
}

/// Number of orders, by state.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, QueryableByName)]
pub struct Orders {
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    #[diesel(sql_type = BigInt)]
    pub confirmed: i64,
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    /// Orders that have not ended, or owe a release, a refund or a shipment.
    #[diesel(sql_type = BigInt)]
    pub unsettled: i64,
    /// Old orders that are being deleted. Inventory and payment may have deleted their rows.
    #[diesel(sql_type = BigInt)]
    #[serde(default)]
    pub leaving: i64,
    /// Held reservations whose order is not stored.
    #[diesel(sql_type = BigInt)]
    pub reservations_without_order: i64,
}

/// A held reservation whose order is not stored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, QueryableByName)]
pub struct HoldWithoutOrder {
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    #[diesel(sql_type = Text)]
    pub product_id: String,
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
}

/// A length as a figure of the report.
pub fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
