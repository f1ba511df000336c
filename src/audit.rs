//! The books, checked: the invariants of the platform on a live database, all at one moment.

use std::fmt;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::platform::database::{DatabaseError, DatabaseUrl};

/// For one audit; it reads all there is.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// An order that is past the bound still needs a moment to be failed.
const BOUND_MARGIN: Duration = Duration::from_secs(60);

/// `GET /audit`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// No invariant is violated.
    pub clean: bool,
    pub invariants: Vec<Invariant>,
    pub products: Vec<Product>,
    pub orders: Orders,
}

/// One thing that must hold.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invariant {
    /// Stable, kebab-case.
    pub name: String,
    pub meaning: String,
    /// How many were looked at.
    pub checked: i64,
    pub violations: i64,
    /// Ids of at most five that violate it.
    pub examples: Vec<String>,
}

/// Stock of one product: stocked = available + held.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, QueryableByName)]
pub struct Product {
    #[diesel(sql_type = Text)]
    pub product_id: String,
    #[diesel(sql_type = Integer)]
    pub stocked: i32,
    #[diesel(sql_type = Integer)]
    pub available: i32,
    #[diesel(sql_type = Integer)]
    pub reserved: i32,
    /// Sum of the ledger's held reservations.
    #[diesel(sql_type = BigInt)]
    pub held: i64,
}

/// How the orders stand.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, QueryableByName)]
pub struct Orders {
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    #[diesel(sql_type = BigInt)]
    pub confirmed: i64,
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    /// Pending, or still owing a release or a void.
    #[diesel(sql_type = BigInt)]
    pub unsettled: i64,
    /// Reservations made past the order service, by hand.
    #[diesel(sql_type = BigInt)]
    pub reservations_without_order: i64,
}

struct Rule {
    name: &'static str,
    meaning: &'static str,
    /// Selects the population, as `id`.
    population: &'static str,
    /// Selects those that violate the rule, as `id`; `{bound}` is the recovery bound in seconds.
    violations: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "stock-conserved",
        meaning: "stock and reserved are not negative and add up to what was stocked",
        population: "SELECT product_id AS id FROM inventory",
        violations: "SELECT product_id AS id FROM inventory
                     WHERE stock < 0 OR reserved < 0 OR stock + reserved <> stocked",
    },
    Rule {
        name: "reserved-is-held",
        meaning: "reserved is the sum of the held reservations",
        population: "SELECT product_id AS id FROM inventory",
        violations: "SELECT COALESCE(i.product_id, r.product_id) AS id FROM inventory i
                     FULL JOIN (SELECT product_id, sum(quantity) AS held FROM reservations
                                WHERE state = 'HELD' GROUP BY product_id) r USING (product_id)
                     WHERE COALESCE(i.reserved, 0) <> COALESCE(r.held, 0)",
    },
    Rule {
        name: "confirmed-is-held-and-paid",
        meaning: "a confirmed order has one held reservation of its product and quantity, and one successful payment",
        population: "SELECT id FROM orders WHERE status = 'CONFIRMED'",
        violations: "SELECT o.id::text FROM orders o
                     LEFT JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
                       AND r.product_id = o.product_id AND r.quantity = o.quantity
                     LEFT JOIN (SELECT order_id, count(*) AS times FROM payments WHERE status = 'SUCCESS'
                                GROUP BY order_id) p ON p.order_id = o.id
                     WHERE o.status = 'CONFIRMED' AND (r.order_id IS NULL OR p.times IS DISTINCT FROM 1)",
    },
    Rule {
        name: "held-and-paid-is-confirmed",
        meaning: "a settled order that is held and paid for is confirmed",
        population: "SELECT r.order_id AS id FROM reservations r JOIN payments p USING (order_id)
                     WHERE r.state = 'HELD' AND p.status = 'SUCCESS'",
        violations:
            "SELECT o.id::text FROM orders o JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
                     JOIN payments p ON p.order_id = o.id AND p.status = 'SUCCESS'
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due",
    },
    Rule {
        name: "failed-keeps-nothing",
        meaning: "a settled failed order holds no stock and no money",
        population: "SELECT id FROM orders WHERE status = 'FAILED' AND release_due IS NULL AND NOT void_due",
        violations: "SELECT o.id::text FROM orders o
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due AND (
                       EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id AND r.state = 'HELD')
                       OR EXISTS (SELECT FROM payments p WHERE p.order_id = o.id AND p.status = 'SUCCESS'))",
    },
    Rule {
        name: "one-payment-per-order",
        meaning: "no order has two payments",
        population: "SELECT DISTINCT order_id AS id FROM payments",
        violations: "SELECT order_id::text AS id FROM payments GROUP BY order_id HAVING count(*) > 1",
    },
    Rule {
        name: "one-order-per-key",
        meaning: "no idempotency key has two orders",
        population: "SELECT DISTINCT idempotency_key AS id FROM orders WHERE idempotency_key IS NOT NULL",
        violations: "SELECT idempotency_key AS id FROM orders WHERE idempotency_key IS NOT NULL
                     GROUP BY idempotency_key HAVING count(*) > 1",
    },
    Rule {
        name: "finished-in-time",
        meaning: "no order is unfinished for longer than the recovery bound",
        population: "SELECT id FROM orders WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')",
        violations:
            "SELECT id::text FROM orders WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')
                     AND created_at < now() - {bound} * interval '1 second'",
    },
];

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = BigInt)]
    checked: i64,
    #[diesel(sql_type = BigInt)]
    violations: i64,
    #[diesel(sql_type = Array<Text>)]
    examples: Vec<String>,
}

/// Checks everything in one read-only transaction, so that all rules see the same moment.
///
/// # Errors
/// Those of the database.
pub async fn run(connection: &mut AsyncPgConnection, bound: Duration) -> Result<Audit, DatabaseError> {
    connection
        .build_transaction()
        .read_only()
        .repeatable_read()
        .run(async |connection| {
            // The one reader of whole tables (see platform/database.rs).
            let settings = format!(
                "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL statement_timeout = {}",
                TIME_LIMIT.as_millis()
            );
            connection.batch_execute(&settings).await?;
            read(connection, bound).await
        })
        .await
}

async fn read(connection: &mut AsyncPgConnection, bound: Duration) -> Result<Audit, DatabaseError> {
    let bound = (bound + BOUND_MARGIN).as_secs().to_string();
    let mut invariants = Vec::new();
    for rule in RULES {
        let statement = format!(
            "WITH violations AS ({})
             SELECT (SELECT count(*) FROM ({}) AS population) AS checked,
                    (SELECT count(*) FROM violations) AS violations,
                    ARRAY(SELECT id::text FROM violations ORDER BY 1 LIMIT 5) AS examples",
            rule.violations.replace("{bound}", &bound),
            rule.population
        );
        let Finding { checked, violations, examples } =
            diesel::sql_query(statement).get_result(connection).await?;
        let (name, meaning) = (rule.name.to_owned(), rule.meaning.to_owned());
        invariants.push(Invariant { name, meaning, checked, violations, examples });
    }
    let clean = invariants.iter().all(|invariant| invariant.violations == 0);
    Ok(Audit { clean, invariants, products: products(connection).await?, orders: orders(connection).await? })
}

async fn products(connection: &mut AsyncPgConnection) -> Result<Vec<Product>, DatabaseError> {
    let statement = "
        SELECT product_id::text, stocked, stock AS available, reserved, COALESCE(held, 0)::bigint AS held
        FROM inventory LEFT JOIN (SELECT product_id, sum(quantity) AS held FROM reservations
                                  WHERE state = 'HELD' GROUP BY product_id) r USING (product_id)
        ORDER BY product_id LIMIT 100";
    Ok(diesel::sql_query(statement).load(connection).await?)
}

async fn orders(connection: &mut AsyncPgConnection) -> Result<Orders, DatabaseError> {
    let statement = "
        SELECT count(*) AS total,
               count(*) FILTER (WHERE status = 'CONFIRMED') AS confirmed,
               count(*) FILTER (WHERE status = 'FAILED') AS failed,
               count(*) FILTER (WHERE status NOT IN ('CONFIRMED', 'FAILED')
                                OR release_due IS NOT NULL OR void_due) AS unsettled,
               (SELECT count(*) FROM reservations r WHERE state = 'HELD'
                  AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id)) AS reservations_without_order
        FROM orders";
    Ok(diesel::sql_query(statement).get_result(connection).await?)
}

/// Why the books could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error("the books cannot be read: {0}")]
    Unreadable(#[from] DatabaseError),
}

/// Audits the database at an address.
///
/// # Errors
/// See [`AuditError`].
pub async fn of(url: &DatabaseUrl, bound: Duration) -> Result<Audit, AuditError> {
    let unreachable =
        |error: ConnectionError| AuditError::Unreachable { url: url.clone(), cause: error.to_string() };
    let mut connection = url.connect().await.map_err(unreachable)?;
    Ok(run(&mut connection, bound).await?)
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Orders { total, confirmed, failed, unsettled, reservations_without_order } = &self.orders;
        writeln!(f, "{total} orders: {confirmed} confirmed, {failed} failed, {unsettled} not settled yet")?;
        for product in &self.products {
            let Product { product_id, stocked, available, reserved, held } = product;
            writeln!(
                f,
                "  {product_id}: stocked {stocked} = available {available} + reserved {reserved}, held {held}"
            )?;
        }
        if *reservations_without_order > 0 {
            writeln!(f, "  {reservations_without_order} reservations were made past the order service")?;
        }
        for invariant in &self.invariants {
            let mark = if invariant.violations == 0 { "✓" } else { "✗" };
            let Invariant { name, meaning, checked, violations, examples, .. } = invariant;
            writeln!(f, "{mark} {name}: {violations} of {checked} ({meaning})")?;
            if !examples.is_empty() {
                writeln!(f, "    {}", examples.join(", "))?;
            }
        }
        write!(f, "{}", if self.clean { "The books balance." } else { "The books do not balance." })
    }
}
