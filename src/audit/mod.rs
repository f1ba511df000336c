//! The books, checked: the invariants of the platform on a live database, all at one moment; or on the databases of the
//! services, where these have their own.

mod elsewhere;
mod rules;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::platform::database::{DatabaseError, DatabaseUrl};

pub use elsewhere::Elsewhere;
use rules::RULES;

/// For one audit; it reads all there is.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// An order that is past the bound still needs a moment to be failed.
const BOUND_MARGIN: Duration = Duration::from_secs(60);

/// `GET /audit`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// When the books were opened; of big ones, the last result is given again for a while.
    pub at: DateTime<Utc>,
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

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = BigInt)]
    checked: i64,
    #[diesel(sql_type = BigInt)]
    violations: i64,
    #[diesel(sql_type = Array<Text>)]
    examples: Vec<String>,
}

/// Why the books could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error("the books cannot be read: {0}")]
    Unreadable(#[from] DatabaseError),
    #[error(
        "{confirmed} orders are confirmed, and this database has no {table} at all: if {service} has a database of its \
         own, name it by {variable}; if not, its {table} are lost"
    )]
    Empty { confirmed: i64, table: &'static str, service: &'static str, variable: &'static str },
}

impl From<DieselError> for AuditError {
    fn from(error: DieselError) -> Self {
        Self::Unreadable(error.into())
    }
}

/// Checks everything in one transaction on order's database, so that all rules see the same moment; what is elsewhere is
/// copied into it first.
///
/// # Errors
/// See [`AuditError`].
pub async fn run(
    connection: &mut AsyncPgConnection,
    bound: Duration,
    elsewhere: &Elsewhere,
) -> Result<Audit, AuditError> {
    let at = Utc::now();
    // The one reader of whole tables (see platform/database.rs).
    let settings = format!(
        "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL statement_timeout = {}",
        TIME_LIMIT.as_millis()
    );
    if !elsewhere.is_needed() {
        let mut one_moment = connection.build_transaction().read_only().repeatable_read();
        return one_moment
            .run(async |connection| {
                connection.batch_execute(&settings).await?;
                let audit = read(connection, bound, at).await?;
                elsewhere.refuse_empty(connection, audit.orders.confirmed).await?;
                Ok(audit)
            })
            .await;
    }
    let mut transaction = connection.build_transaction().repeatable_read();
    let (mut audit, unknown) = transaction
        .run(async |connection| {
            connection.batch_execute(&settings).await?;
            let confirmed = elsewhere.bring_here(connection).await?;
            elsewhere.refuse_empty(connection, confirmed).await?;
            Ok::<_, AuditError>((read(connection, bound, at).await?, elsewhere::unknown(connection).await?))
        })
        .await?;
    audit.orders.reservations_without_order = elsewhere::still_unknown(connection, unknown).await?;
    Ok(audit)
}

async fn read(
    connection: &mut AsyncPgConnection,
    bound: Duration,
    at: DateTime<Utc>,
) -> Result<Audit, DatabaseError> {
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
    let (products, orders) = (products(connection).await?, orders(connection).await?);
    Ok(Audit { at, clean, invariants, products, orders })
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

/// Audits the database at an address, and those of inventory and payment where they have their own.
///
/// # Errors
/// See [`AuditError`].
pub async fn of(url: &DatabaseUrl, bound: Duration, elsewhere: &Elsewhere) -> Result<Audit, AuditError> {
    let mut connection = connect(url).await?;
    run(&mut connection, bound, elsewhere).await
}

async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection, AuditError> {
    let unreachable =
        |error: ConnectionError| AuditError::Unreachable { url: url.clone(), cause: error.to_string() };
    url.connect().await.map_err(unreachable)
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
