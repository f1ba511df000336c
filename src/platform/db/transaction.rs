//! Transactions that are always rolled back.

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use super::error::DatabaseError;

/// Runs work in a transaction, and then rolls it back. That also releases its locks.
///
/// # Errors
/// Those of the work and of the transaction.
pub async fn run_and_roll_back<T>(
    connection: &mut AsyncPgConnection,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    AnsiTransactionManager::begin_transaction(connection).await?;
    let outcome = work(connection).await;
    AnsiTransactionManager::rollback_transaction(connection).await?;
    outcome
}
