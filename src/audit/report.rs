//! The result of an audit, for programs and for people.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::platform::output;

/// Holds without an order that an audit lists.
pub const MAX_HOLDS: usize = 20;
/// Violations that an invariant names.
pub const MAX_EXAMPLES: usize = 5;
/// The length of the longest name of an invariant.
const NAME_WIDTH: usize = 29;
/// Columns of a line, without its indentation.
const TEXT_WIDTH: usize = 76;

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

fn violated(invariants: &[Invariant]) -> usize {
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

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.orders.fmt(f)?;
        if !self.products.is_empty() {
            writeln!(
                f,
                "  {:<18} {:>10} {:>10} {:>10} {:>10} {:>10}",
                "product", "stocked", "available", "reserved", "shipped", "held"
            )?;
        }
        for product in &self.products {
            product.fmt(f)?;
        }
        self.fmt_holds(f)?;
        for invariant in &self.invariants {
            invariant.fmt(f)?;
        }
        if self.clean {
            return write!(f, "No invariant is violated.");
        }
        let violated = violated(&self.invariants);
        let total = self.invariants.len();
        write!(f, "{violated} of {total} invariants are violated.")
    }
}

impl Audit {
    fn fmt_holds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.orders.reservations_without_order;
        if total > 0 {
            writeln!(
                f,
                "  {total} held reservations have no order: they were made directly at\n  \
                 inventory, or their orders were lost"
            )?;
        }
        for HoldWithoutOrder {
            order_id,
            product_id,
            quantity,
        } in &self.holds_without_order
        {
            writeln!(f, "    order {order_id}: {quantity} of {product_id}")?;
        }
        let listed = to_i64(self.holds_without_order.len());
        if listed > 0 && listed < total {
            writeln!(f, "    … and more: these are the first {listed}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            total,
            confirmed,
            failed,
            unsettled,
            ..
        } = self;
        writeln!(
            f,
            "{total} orders: {confirmed} confirmed, {failed} failed, {unsettled} not settled yet"
        )
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            product_id,
            stocked,
            available,
            reserved,
            shipped,
            held,
        } = self;
        write!(f, "  {product_id:<18} {stocked:>10} {available:>10} ")?;
        writeln!(f, "{reserved:>10} {shipped:>10} {held:>10}")
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            meaning,
            checked,
            violations,
            examples,
        } = self;
        let mark = if *violations == 0 { "✓" } else { "✗" };
        let noun = if *violations == 1 {
            "violation"
        } else {
            "violations"
        };
        write!(f, "{mark} {name:<NAME_WIDTH$}")?;
        writeln!(f, " {checked:>9} checked, {violations} {noun}")?;
        if *violations == 0 {
            return Ok(());
        }
        for line in output::wrapped(&format!("violated: {meaning}"), TEXT_WIDTH) {
            writeln!(f, "    {line}")?;
        }
        for example in examples {
            writeln!(f, "    - {example}")?;
        }
        let listed = to_i64(examples.len());
        if listed > 0 && listed < *violations {
            writeln!(f, "    … and {} more", violations - listed)?;
        }
        Ok(())
    }
}

/// A length as a figure of the report.
pub fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invariant_is_one_line_and_its_violations_are_listed_below() {
        let mut invariant = Invariant {
            name: "one-payment-per-order".to_owned(),
            meaning: "an order has at most one payment".to_owned(),
            checked: 166,
            violations: 0,
            examples: Vec::new(),
        };
        let holds = "✓ one-payment-per-order               166 checked, 0 violations\n";
        assert_eq!(invariant.to_string(), holds);
        invariant.violations = 3;
        invariant.examples = vec!["a".to_owned(), "b".to_owned()];
        let violated = "✗ one-payment-per-order               166 checked, 3 violations\n    \
                        violated: an order has at most one payment\n    - a\n    - b\n    \
                        … and 1 more\n";
        assert_eq!(invariant.to_string(), violated);
    }
}
