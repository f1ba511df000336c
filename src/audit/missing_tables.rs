//! Detects that the rows of a service are in another database, or lost.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::error::AuditError;
use super::invariants::{LEAVING, SETTLED_FAILURE};
use super::remote_databases::RemoteDatabases;
use crate::platform::db::DatabaseUrl;

/// Number of orders that must have a row in the tables of inventory and payment.
#[derive(QueryableByName)]
pub struct ExpectedRows {
    #[diesel(sql_type = BigInt)]
    reservations: i64,
    #[diesel(sql_type = BigInt)]
    payments: i64,
}

impl ExpectedRows {
    /// Counts the orders. The conditions are those of the invariants `confirmed-is-held-and-paid`,
    /// `fulfilled-is-shipped-and-paid`, `failed-has-reservation` and `failed-has-payment`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count(connection: &mut AsyncPgConnection) -> Result<Self, AuditError> {
        let statement = format!(
            "SELECT count(*) AS reservations,
                    count(*) FILTER (WHERE status = 'CONFIRMED' OR failure_reason
                        IN ('payment-declined', 'expired', 'cancelled')) AS payments
             FROM orders o
             WHERE (status = 'CONFIRMED' OR {SETTLED_FAILURE}) AND NOT {LEAVING}"
        );
        Ok(diesel::sql_query(statement).get_result(connection).await?)
    }

    /// Checks that a table is not empty if orders must have rows in it. With an empty table the
    /// invariants would report each of these orders, although the table is in another database, or
    /// lost as a whole.
    ///
    /// # Errors
    /// [`AuditError::Empty`], and those of the database.
    pub async fn require(
        &self,
        connection: &mut AsyncPgConnection,
        remote: &RemoteDatabases,
    ) -> Result<(), AuditError> {
        let requirements = [
            Requirement {
                orders: self.reservations,
                table: "reservations",
                service: "inventory",
                url: remote.inventory.as_ref(),
                variable: "INVENTORY_DATABASE_URL",
            },
            Requirement {
                orders: self.payments,
                table: "payments",
                service: "payment",
                url: remote.payment.as_ref(),
                variable: "PAYMENT_DATABASE_URL",
            },
        ];
        for requirement in requirements {
            requirement.check(connection).await?;
        }
        Ok(())
    }
}

struct Requirement<'a> {
    /// Number of orders that must have a row in `table`.
    orders: i64,
    table: &'static str,
    service: &'static str,
    /// The service's own database, which may be empty: the invariants judge it.
    url: Option<&'a DatabaseUrl>,
    variable: &'static str,
}

impl Requirement<'_> {
    async fn check(&self, connection: &mut AsyncPgConnection) -> Result<(), AuditError> {
        if self.url.is_some() || self.orders == 0 || !is_empty(self.table, connection).await? {
            return Ok(());
        }
        Err(AuditError::Empty {
            orders: self.orders,
            table: self.table,
            service: self.service,
            variable: self.variable,
        })
    }
}

async fn is_empty(table: &str, connection: &mut AsyncPgConnection) -> Result<bool, AuditError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_empty: bool,
    }
    let statement = format!("SELECT NOT EXISTS (SELECT FROM {table}) AS is_empty");
    let row: Row = diesel::sql_query(statement).get_result(connection).await?;
    Ok(row.is_empty)
}
