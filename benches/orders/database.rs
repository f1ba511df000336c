//! What the benchmark itself asks the database.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::{Client, NoTls};

use crate::Fallible;

/// After a load, what is under way is settled within this.
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// As in the services' own indexes of what is unfinished and of what owes something.
pub const UNSETTLED: &str = "(status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')
    OR status IN ('CONFIRMED', 'FAILED') AND (release_owed_epoch IS NOT NULL OR refund_owed))";
const POLL: Duration = Duration::from_millis(50);

pub async fn connect(url: &str) -> Fallible<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// One by one, since some of them must not run in a transaction, which several at once would be.
pub async fn execute(client: &Client, statements: &str) -> Fallible<()> {
    for statement in statements.split_inclusive(";\n") {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// What the server has done so far: for all its databases, since one writes at a time here.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Work {
    pub commits: f64,
    pub wal_bytes: f64,
    /// The connected database's tables with their indexes.
    pub stored_bytes: f64,
}

impl Work {
    pub async fn so_far(client: &Client) -> Fallible<Self> {
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

async fn count(client: &Client, statement: &str) -> Fallible<u32> {
    Ok(u32::try_from(
        client.query_one(statement, &[]).await?.get::<_, i64>(0),
    )?)
}

pub async fn confirmed(client: &Client) -> Fallible<u32> {
    count(
        client,
        "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'",
    )
    .await
}

pub async fn unsettled(client: &Client) -> Fallible<u32> {
    count(
        client,
        &format!("SELECT count(*) FROM orders WHERE {UNSETTLED}"),
    )
    .await
}

/// Waits until every order is settled.
pub async fn quiet(client: &Client, limit: Option<Duration>) -> Fallible<()> {
    let started = Instant::now();
    loop {
        let left = unsettled(client).await?;
        if left == 0 {
            return Ok(());
        }
        if started.elapsed() > limit.unwrap_or(QUIET_LIMIT) {
            return Err(format!(
                "{left} orders are still unfinished after {} s",
                started.elapsed().as_secs()
            )
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
}
