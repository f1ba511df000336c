//! Why there is no audit.

use diesel::result::Error as DieselError;

use crate::platform::db::{DatabaseError, DatabaseUrl};
use crate::platform::plural::count;

/// Why there is no audit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    #[error("cannot reach the database at {url}: {cause}")]
    Unreachable { url: DatabaseUrl, cause: String },
    #[error("the tables cannot be read: {0}")]
    Unreadable(#[from] DatabaseError),
    #[error("the tables cannot be locked for reading: {0}")]
    NotLocked(DatabaseError),
    #[error("the audit did not end in time")]
    TimedOut,
    #[error(
        "orders that seem to violate an invariant changed each time that they were read ({orders} \
         of them): start the audit again"
    )]
    OrdersChanging { orders: usize },
    #[error("the audit ended without a result")]
    Aborted,
    #[error(
        "{} must have a row in {table}, and this database has no {table} at all: \
         if {service} has a database of its own, set {variable}; if not, its {table} are lost",
        count(*orders, "order")
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
