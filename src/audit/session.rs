//! The database session of an audit: its connection, time limits and locks.

use std::time::Duration;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::time::Instant;

use super::error::AuditError;
use crate::platform::db::{DatabaseError, DatabaseUrl};

/// For the tables that another session has locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// For one statement of an audit that has no limit as a whole.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an audit may take.
#[derive(Debug, Clone, Copy)]
pub enum TimeLimit {
    /// Each statement has a limit, the audit as a whole has none.
    EachStatement,
    Until(Instant),
}

impl TimeLimit {
    /// Makes the server end the transaction's next statements in time. Without this, an audit whose
    /// caller has given up would continue on the server.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn apply(self, connection: &mut AsyncPgConnection) -> Result<(), AuditError> {
        let timeout = match self {
            Self::EachStatement => STATEMENT_TIMEOUT,
            Self::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
        };
        // 0 would mean no limit.
        let milliseconds = timeout.as_millis().max(1);
        Ok(connection
            .batch_execute(&format!("SET LOCAL statement_timeout = {milliseconds}"))
            .await?)
    }
}

/// Connects to a database.
///
/// # Errors
/// [`AuditError::Unreachable`].
pub async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection, AuditError> {
    let unreachable = |error: ConnectionError| AuditError::Unreachable {
        url: url.clone(),
        cause: error.to_string(),
    };
    url.connect().await.map_err(unreachable)
}

/// Protects tables from being rewritten or emptied, which a snapshot does not. Call it before the
/// transaction's first query: the snapshot is then taken after the wait for the locks.
///
/// # Errors
/// [`AuditError::NotLocked`] if another session holds a lock for too long. Else those of the
/// database.
pub async fn lock_tables(
    connection: &mut AsyncPgConnection,
    tables: &[&str],
    limit: TimeLimit,
) -> Result<(), AuditError> {
    limit.apply(connection).await?;
    let timeout = LOCK_TIMEOUT.as_millis();
    // An audit joins whole tables. Where statistics are missing or old, the planner can expect one
    // row and choose a nested loop, whose time grows with the square of the number of orders.
    let settings = format!(
        "SET LOCAL jit = off; SET LOCAL enable_nestloop = off; SET LOCAL lock_timeout = {timeout}"
    );
    connection.batch_execute(&settings).await?;
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
    let locked = connection
        .batch_execute(&lock)
        .await
        .map_err(DatabaseError::from);
    locked.map_err(|error| {
        if error.is_rejection() {
            AuditError::NotLocked(error)
        } else {
            error.into()
        }
    })
}
