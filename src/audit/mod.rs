//! The invariants of the platform on a live database, or on the databases of the services where
//! each has its own.
//!
//! `rules` are the invariants; `reader` applies them to one snapshot; `elsewhere` copies what is in
//! other databases.

mod invariants;
mod reader;
mod remote_tables;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::platform::db::{DatabaseError, DatabaseUrl};

use reader::Limit;
pub use remote_tables::Elsewhere;
use remote_tables::Expected;

/// An order that is past the recovery bound still needs a moment to be failed, and then to be
/// settled.
const BOUND_MARGIN: Duration = Duration::from_secs(60);
/// Holds without an order that an audit lists.
const MAX_HOLDS: usize = 20;
/// The tables of each service, as they are locked.
const ORDER_TABLES: [&str; 2] = ["orders", "order_events"];
const ALL_TABLES: [&str; 5] = [
    "orders",
    "order_events",
    "inventory",
    "reservations",
    "payments",
];

/// `GET /audit`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// When the snapshot of the orders was taken.
    pub at: DateTime<Utc>,
    /// No invariant is violated.
    pub clean: bool,
    pub invariants: Vec<Invariant>,
    /// At most 100; the invariants cover all.
    pub products: Vec<Product>,
    pub orders: Orders,
    /// Held reservations that no order of the platform knows, made past the order service: at most
    /// 20 of `orders.reservations_without_order`. `POST /inventory/release` gives one back.
    #[serde(default)]
    pub holds_without_order: Vec<HoldWithoutOrder>,
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
    /// At most five that violate it, by id; where rows of several tables can, by table, id and
    /// state.
    pub examples: Vec<String>,
}

/// Stock of one product: stocked = available + held.
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
    /// Pending, or still owing a release or a refund.
    #[diesel(sql_type = BigInt)]
    pub unsettled: i64,
    /// Reservations made past the order service, by hand.
    #[diesel(sql_type = BigInt)]
    pub reservations_without_order: i64,
}

/// A held reservation that no order of the platform knows.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, QueryableByName)]
pub struct HoldWithoutOrder {
    #[diesel(sql_type = SqlUuid)]
    pub order_id: Uuid,
    #[diesel(sql_type = Text)]
    pub product_id: String,
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
}

/// Why there is no audit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error("the books cannot be read: {0}")]
    Unreadable(#[from] DatabaseError),
    #[error("the tables cannot be locked for reading: {0}")]
    NotLocked(DatabaseError),
    #[error("the audit did not end in time")]
    TimedOut,
    #[error("the audit ended without a result")]
    Aborted,
    #[error(
        "{orders} orders must have a row in {table}, and this database has no {table} at all: if {service} has a \
         database of its own, name it by {variable}; if not, its {table} are lost"
    )]
    Empty {
        orders: i64,
        table: &'static str,
        service: &'static str,
        variable: &'static str,
    },
}

impl From<DieselError> for AuditError {
    fn from(error: DieselError) -> Self {
        Self::Unreadable(error.into())
    }
}

fn is_clean(invariants: &[Invariant]) -> bool {
    invariants.iter().all(|invariant| invariant.violations == 0)
}

/// Audits the database at an address, and those of inventory and payment where they have their own.
///
/// # Errors
/// See [`AuditError`].
pub async fn of(
    url: &DatabaseUrl,
    bound: Duration,
    elsewhere: &Elsewhere,
) -> Result<Audit, AuditError> {
    run(url, bound, elsewhere, Limit::EachStatement).await
}

/// As [`of`], within a limit as a whole.
///
/// # Errors
/// See [`AuditError`].
pub async fn within(
    limit: Duration,
    url: &DatabaseUrl,
    bound: Duration,
    elsewhere: &Elsewhere,
) -> Result<Audit, AuditError> {
    let deadline = Instant::now() + limit;
    let audit = run(url, bound, elsewhere, Limit::Until(deadline));
    tokio::time::timeout_at(deadline, audit)
        .await
        .unwrap_or(Err(AuditError::TimedOut))
}

/// Checks everything in one transaction on order's database, so that all rules see one snapshot;
/// what is elsewhere is copied into it first.
async fn run(
    url: &DatabaseUrl,
    bound: Duration,
    elsewhere: &Elsewhere,
    limit: Limit,
) -> Result<Audit, AuditError> {
    let mut connection = connect(url).await?;
    if elsewhere.is_needed() {
        return elsewhere.audit(&mut connection, bound, limit).await;
    }
    let mut snapshot = connection.build_transaction().read_only().repeatable_read();
    snapshot
        .run(async |connection| {
            reader::lock(connection, &ALL_TABLES, limit).await?;
            let at = Utc::now();
            let expected = Expected::read(connection).await?;
            elsewhere.refuse_empty(connection, &expected).await?;
            reader::read(connection, bound, at, limit).await
        })
        .await
}

async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection, AuditError> {
    let unreachable = |error: ConnectionError| AuditError::Unreachable {
        url: url.clone(),
        cause: error.to_string(),
    };
    url.connect().await.map_err(unreachable)
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Orders {
            total,
            confirmed,
            failed,
            unsettled,
            reservations_without_order,
        } = &self.orders;
        writeln!(
            f,
            "{total} orders: {confirmed} confirmed, {failed} failed, {unsettled} not settled yet"
        )?;
        for product in &self.products {
            let Product {
                product_id,
                stocked,
                available,
                reserved,
                held,
            } = product;
            writeln!(
                f,
                "  {product_id}: stocked {stocked} = available {available} + reserved {reserved}, held {held}"
            )?;
        }
        if *reservations_without_order > 0 {
            writeln!(
                f,
                "  {reservations_without_order} reservations were made past the order service"
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
        let listed = self.holds_without_order.len();
        if i64::try_from(listed)
            .is_ok_and(|listed| listed > 0 && listed < *reservations_without_order)
        {
            writeln!(f, "    … and more: these are the first {listed}")?;
        }
        for invariant in &self.invariants {
            let mark = if invariant.violations == 0 {
                "✓"
            } else {
                "✗"
            };
            let Invariant {
                name,
                meaning,
                checked,
                violations,
                examples,
                ..
            } = invariant;
            writeln!(f, "{mark} {name}: {violations} of {checked} ({meaning})")?;
            if !examples.is_empty() {
                writeln!(f, "    {}", examples.join(", "))?;
            }
        }
        write!(
            f,
            "{}",
            if self.clean {
                "The books balance."
            } else {
                "The books do not balance."
            }
        )
    }
}
