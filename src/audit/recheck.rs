//! Reads again the orders that seem to violate an invariant: they may have changed between the
//! snapshots of the services' databases.

use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use super::error::AuditError;
use super::invariants::{AGREEMENT, LEAVING};
use super::remote_databases::RemoteDatabases;
use super::session::{TimeLimit, lock_tables};
use super::suspicions::{Epochs, OrderEpoch, Suspicions};
use super::tables::{INVENTORY_TABLES, PAYMENT_TABLES, Rows};

/// How often an order is read again. One round is enough for an order that was placed, cancelled or
/// fulfilled during the audit. More are needed if the order changes again during a round.
const MAX_ROUNDS: usize = 5;

/// Returns the suspicions that are real. Call it after the transaction that found `suspicions`.
///
/// A violation is real if its order still has the epoch with which it was read ([`AGREEMENT`]). An
/// order whose epoch has changed is read and checked again, with its reservation and its payment.
///
/// # Errors
/// [`AuditError::OrdersChanging`] if an order still seems to violate an invariant in the last
/// round, and has changed again: the violation may not be real. Otherwise those of the databases.
pub async fn recheck(
    mut suspicions: Suspicions,
    connection: &mut AsyncPgConnection,
    remote: &RemoteDatabases,
    limit: TimeLimit,
) -> Result<Suspicions, AuditError> {
    let mut real = Suspicions::default();
    let mut rounds = 0;
    loop {
        let orders: Vec<_> = suspicions.orders().into_iter().collect();
        if orders.is_empty() {
            return Ok(real);
        }
        let epochs = read_epochs(orders, connection, limit).await?;
        let (unchanged, changed) = suspicions.without_changed(&epochs);
        real.extend(unchanged);
        let changed: Vec<_> = changed.into_iter().collect();
        if changed.is_empty() {
            return Ok(real);
        }
        if rounds == MAX_ROUNDS {
            let orders = changed.len();
            return Err(AuditError::OrdersChanging { orders });
        }
        rounds += 1;
        suspicions = read_again(&changed, connection, remote, limit).await?;
    }
}

/// Reads the present epochs of orders. The result lacks an order that does not exist or is leaving.
async fn read_epochs(
    orders: Vec<Uuid>,
    connection: &mut AsyncPgConnection,
    limit: TimeLimit,
) -> Result<Epochs, AuditError> {
    let statement =
        format!("SELECT id AS order_id, epoch FROM orders o WHERE id = ANY ($1) AND NOT {LEAVING}");
    let mut transaction = connection.build_transaction().read_only();
    let found: Vec<OrderEpoch> = transaction
        .run(async |connection| {
            lock_tables(connection, &["orders", "leaving_orders"], limit).await?;
            let query = diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(orders);
            Ok::<_, AuditError>(query.load(connection).await?)
        })
        .await?;
    let epoch = |order: OrderEpoch| Some((order.order_id?, order.epoch));
    Ok(found.into_iter().filter_map(epoch).collect())
}

/// Reads these orders, then their reservations and their payments, and checks them.
async fn read_again(
    orders: &[Uuid],
    connection: &mut AsyncPgConnection,
    remote: &RemoteDatabases,
    limit: TimeLimit,
) -> Result<Suspicions, AuditError> {
    let rows = Rows::OfOrders(orders);
    let mut snapshot = connection.build_transaction().repeatable_read();
    snapshot
        .run(async |connection| {
            lock_tables(connection, &remote.local_tables(), limit).await?;
            // The first query of the transaction. It takes the snapshot of the orders.
            copy_local("orders", &rows.condition("id"), connection).await?;
            for (url, tables) in [
                (&remote.inventory, INVENTORY_TABLES),
                (&remote.payment, PAYMENT_TABLES),
            ] {
                for table in rows.tables(tables).filter(|_| url.is_none()) {
                    copy_local(table.name, &rows.condition("order_id"), connection).await?;
                }
            }
            remote.copy_to_temp_tables(rows, connection, limit).await?;
            Suspicions::read(AGREEMENT.iter().collect(), connection, limit).await
        })
        .await
}

/// Hides a table of this database behind a temporary one, until the transaction ends.
async fn copy_local(
    table: &str,
    condition: &str,
    connection: &mut AsyncPgConnection,
) -> Result<(), AuditError> {
    let copy = format!(
        "CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS SELECT * FROM {table} WHERE {condition}"
    );
    Ok(connection.batch_execute(&copy).await?)
}
