//! Queries of the benchmark to the database.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::{Client, NoTls};

use crate::fallible::Fallible;

/// After a load, all orders must be settled within this time.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub async fn connect(url: &str) -> Fallible<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs statements one by one. Several in one call would be a transaction, which some of them do
/// not allow.
pub async fn execute(client: &Client, statements: &str) -> Fallible<()> {
    for statement in statements.split_inclusive(";\n") {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Counters of the work that the server has done.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct DatabaseWork {
    /// In the connected database.
    pub commits: f64,
    /// In all databases of the server.
    pub wal_bytes: f64,
    /// The size of the connected database's tables with their indexes.
    pub stored_bytes: f64,
}

impl DatabaseWork {
    /// Reads the totals up to now.
    pub async fn read(client: &Client) -> Fallible<Self> {
        let statement = "SELECT xact_commit::float8, (pg_current_wal_lsn() - '0/0')::float8,
                (SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables)::float8
            FROM pg_stat_database WHERE datname = current_database()";
        let row = client.query_one(statement, &[]).await?;
        Ok(Self {
            commits: row.get(0),
            wal_bytes: row.get(1),
            stored_bytes: row.get(2),
        })
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            wal_bytes: self.wal_bytes - before.wal_bytes,
            stored_bytes: self.stored_bytes - before.stored_bytes,
        }
    }
}

async fn count(client: &Client, rows: &str) -> Fallible<u32> {
    let statement = format!("SELECT count(*) FROM {rows}");
    let count: i64 = client.query_one(&statement, &[]).await?.get(0);
    Ok(u32::try_from(count)?)
}

pub async fn count_confirmed(client: &Client) -> Fallible<u32> {
    count(client, "orders WHERE status = 'CONFIRMED'").await
}

pub async fn count_unsettled(client: &Client) -> Fallible<u32> {
    count(client, "unsettled_orders").await
}

/// Waits until every order is settled.
///
/// # Errors
/// When an order is unsettled after 60 s, besides others.
pub async fn wait_until_settled(client: &Client) -> Fallible<()> {
    let started = Instant::now();
    loop {
        let unsettled = count_unsettled(client).await?;
        if unsettled == 0 {
            return Ok(());
        }
        if started.elapsed() > SETTLE_TIMEOUT {
            let seconds = SETTLE_TIMEOUT.as_secs();
            return Err(format!("{unsettled} orders are still unsettled after {seconds} s").into());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
