//! Runs an audit.

use std::time::Duration;

use chrono::Utc;
use diesel_async::AsyncPgConnection;
use tokio::time::Instant;

use super::error::AuditError;
use super::missing_tables::ExpectedRows;
use super::reader;
use super::recheck::recheck;
use super::remote_databases::RemoteDatabases;
use super::report::Audit;
use super::session::{TimeLimit, connect, lock_tables};
use super::suspicions::Suspicions;
use super::tables::Rows;
use crate::platform::db::DatabaseUrl;

/// Audits the database at `url`, and those of inventory and payment where they have their own.
/// `bound` is the recovery bound: how long an order may stay unfinished, or owe something. Each
/// statement may take 30 s; the audit as a whole has no limit.
///
/// # Errors
/// See [`AuditError`].
pub async fn run(
    url: &DatabaseUrl,
    bound: Duration,
    remote: &RemoteDatabases,
) -> Result<Audit, AuditError> {
    audit(url, bound, remote, TimeLimit::EachStatement).await
}

/// Audits like [`run`], in at most `limit` as a whole.
///
/// # Errors
/// See [`AuditError`].
pub async fn run_within(
    limit: Duration,
    url: &DatabaseUrl,
    bound: Duration,
    remote: &RemoteDatabases,
) -> Result<Audit, AuditError> {
    let deadline = Instant::now() + limit;
    let audit = audit(url, bound, remote, TimeLimit::Until(deadline));
    tokio::time::timeout_at(deadline, audit)
        .await
        .unwrap_or(Err(AuditError::TimedOut))
}

async fn audit(
    url: &DatabaseUrl,
    bound: Duration,
    remote: &RemoteDatabases,
    limit: TimeLimit,
) -> Result<Audit, AuditError> {
    let mut connection = connect(url).await?;
    if remote.is_any() {
        return audit_several_databases(&mut connection, bound, remote, limit).await;
    }
    let mut snapshot = connection.build_transaction().read_only().repeatable_read();
    snapshot
        .run(async |connection| read_snapshot(connection, bound, remote, limit).await)
        .await
}

/// Audits where at least one service has a database of its own. Three databases have no common
/// snapshot.
///
/// Orders are read first, then inventory, then payment. An order is stored in a status only after
/// its reservation and its payment satisfy the invariants of that status. So an order in progress
/// violates no invariant, even if it settles during the audit. An order that is placed, cancelled
/// or fulfilled after the snapshot of the orders can seem to violate one. Such orders are read
/// again ([`recheck`]).
async fn audit_several_databases(
    connection: &mut AsyncPgConnection,
    bound: Duration,
    remote: &RemoteDatabases,
    limit: TimeLimit,
) -> Result<Audit, AuditError> {
    // Not read-only, because it creates temporary tables.
    let mut snapshot = connection.build_transaction().repeatable_read();
    let (mut audit, suspicions) = snapshot
        .run(async |connection| {
            let audit = read_snapshot(connection, bound, remote, limit).await?;
            let suspicions = Suspicions::of(&audit, connection, limit).await?;
            Ok::<_, AuditError>((audit, suspicions))
        })
        .await?;
    let confirmed = recheck(suspicions, connection, remote, limit).await?;
    confirmed.correct(&mut audit);
    Ok(audit)
}

/// Checks everything in one transaction, so that all invariants see one snapshot.
async fn read_snapshot(
    connection: &mut AsyncPgConnection,
    bound: Duration,
    remote: &RemoteDatabases,
    limit: TimeLimit,
) -> Result<Audit, AuditError> {
    lock_tables(connection, &remote.local_tables(), limit).await?;
    let at = Utc::now();
    // The first query of the transaction. It takes the snapshot of the orders.
    let expected = ExpectedRows::count(connection).await?;
    remote
        .copy_to_temp_tables(Rows::All, connection, limit)
        .await?;
    expected.require(connection, remote).await?;
    reader::read(connection, bound, at, limit).await
}
