//! Finds out in the session itself why work failed, and whether the server takes writes.

use std::sync::Arc;

use diesel::sql_types::Bool;
use diesel::{QueryableByName, sql_query};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, timeout_at};

use super::error::DatabaseError;
use super::timeouts::LOCK_TIMEOUT;

/// Classifies an error whose cause Diesel does not report.
///
/// A server that ends the session may have committed the work before, so the error counts as a
/// rejection only if the session still works. Work that is rejected after a wait met a lock or a
/// slow server: nothing was done, and the same work may succeed later.
pub async fn classify(
    connection: &mut AsyncPgConnection,
    error: DatabaseError,
    started: Instant,
    deadline: Instant,
) -> DatabaseError {
    let DatabaseError::Query(cause) = &error else {
        return error;
    };
    if !error.has_unreported_cause() {
        return error;
    }
    let has_waited = started.elapsed() >= LOCK_TIMEOUT;
    let ping = timeout_at(deadline, connection.batch_execute("SELECT 1")).await;
    if !matches!(ping, Ok(Ok(()))) || connection.is_broken() {
        return DatabaseError::ConnectionLost(Arc::clone(cause));
    }
    if has_waited {
        DatabaseError::Locked(cause.to_string())
    } else {
        error
    }
}

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    read_only: bool,
}

/// Checks that the session can change data.
///
/// # Errors
/// [`DatabaseError::ReadOnly`] if it cannot, for example because the server is a standby.
pub async fn takes_writes(connection: &mut AsyncPgConnection) -> Result<(), DatabaseError> {
    let statement = "SELECT current_setting('transaction_read_only')::bool AS read_only";
    let session: Session = sql_query(statement).get_result(connection).await?;
    if session.read_only {
        Err(DatabaseError::ReadOnly)
    } else {
        Ok(())
    }
}
