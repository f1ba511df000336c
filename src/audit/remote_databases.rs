//! Inventory and payment with databases of their own.

use std::time::Duration;

use diesel_async::AsyncPgConnection;

use super::copy::copy_tables;
use super::error::AuditError;
use super::session::TimeLimit;
use super::tables::{INVENTORY_TABLES, ORDER_TABLES, PAYMENT_TABLES, Rows, names};
use crate::platform::db::DatabaseUrl;

/// For the copy of one database, where the audit as a whole has no limit.
const COPY_TIMEOUT: Duration = Duration::from_secs(30);

/// The databases of inventory and payment, where these are not order's.
#[derive(Debug, Clone, Default)]
pub struct RemoteDatabases {
    pub inventory: Option<DatabaseUrl>,
    pub payment: Option<DatabaseUrl>,
}

impl RemoteDatabases {
    /// Whether inventory or payment has a database of its own.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.inventory.is_some() || self.payment.is_some()
    }

    /// The tables to read in order's database.
    #[must_use]
    pub fn local_tables(&self) -> Vec<&'static str> {
        let mut tables = ORDER_TABLES.to_vec();
        if self.inventory.is_none() {
            tables.extend(names(INVENTORY_TABLES));
        }
        if self.payment.is_none() {
            tables.extend(names(PAYMENT_TABLES));
        }
        tables
    }

    /// Copies rows of the remote databases into temporary tables of order's database. These hide
    /// order's own tables of the same name, so that the invariants check the copies.
    ///
    /// # Errors
    /// Those of the databases; [`AuditError::TimedOut`] after 30 s for one of them.
    pub async fn copy_to_temp_tables(
        &self,
        rows: Rows<'_>,
        connection: &mut AsyncPgConnection,
        limit: TimeLimit,
    ) -> Result<(), AuditError> {
        for (url, tables) in [
            (&self.inventory, INVENTORY_TABLES),
            (&self.payment, PAYMENT_TABLES),
        ] {
            if let Some(url) = url {
                let copy = copy_tables(url, tables, rows, connection, limit);
                let copied = tokio::time::timeout(COPY_TIMEOUT, copy).await;
                copied.map_err(|_| AuditError::TimedOut)??;
            }
        }
        Ok(())
    }
}
