//! Faults that another database session causes: locks, commits that wait for a standby, ended
//! sessions.
//!
//! A lock and a wait go on in the background while other faults are injected, restarts of the
//! database among them. Each ends by itself; [`DatabaseFaults::end_all`] ends all of them.

use std::io;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::fault::OrdersLock;
use super::session::{Session, while_away};
use crate::platform::db::DatabaseUrl;
use crate::prove::error::{ProveError, is_away};
use crate::testbed::cluster::connect;
use crate::testbed::service_kind::ServiceKind;

/// No standby has this name.
const ABSENT_STANDBY: &str = "nobody";
/// Longer than another fault keeps the lock that this one waits for.
const FAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(6);
/// Limits the time in which the server must read a changed setting, or come back after a restart.
const SETTING_TIMEOUT: Duration = Duration::from_secs(30);
/// Limits the time in which a service must open a session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const RESET_STANDBY: &str = "ALTER SYSTEM RESET synchronous_standby_names";
const WAITING_COMMITS: &str = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
/// Number of rows that [`OrdersLock::NewestRows`] locks.
const NEWEST_ROWS: i64 = 20;

/// The database faults that are in progress.
pub struct DatabaseFaults {
    url: DatabaseUrl,
    locks: Vec<JoinHandle<()>>,
    standby_wait: Option<JoinHandle<()>>,
}

impl DatabaseFaults {
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            locks: Vec::new(),
            standby_wait: None,
        }
    }

    /// Locks a product's row for the duration. Returns whether the lock was acquired.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock_product(
        &mut self,
        product_id: &str,
        duration: Duration,
    ) -> Result<bool, ProveError> {
        let client = self.begin().await?;
        let statement = "SELECT FROM inventory WHERE product_id = $1 FOR UPDATE";
        let locked = client.execute(statement, &[&product_id]).await;
        self.hold(client, locked, duration)
    }

    /// Locks the table `orders`, or its newest rows, for the duration. Returns whether the lock was
    /// acquired.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock_orders(
        &mut self,
        lock: OrdersLock,
        duration: Duration,
    ) -> Result<bool, ProveError> {
        let client = self.begin().await?;
        let locked = match lock {
            OrdersLock::Table => client
                .batch_execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                .await
                .map(|()| 1),
            // Rows that another session has locked are skipped: waiting for one row while holding
            // others could be a deadlock.
            OrdersLock::NewestRows => {
                let statement =
                    "SELECT FROM orders ORDER BY created_at DESC LIMIT $1 FOR UPDATE SKIP LOCKED";
                client.execute(statement, &[&NEWEST_ROWS]).await
            }
        };
        self.hold(client, locked, duration)
    }

    async fn begin(&self) -> Result<Client, ProveError> {
        let timeout = FAULT_LOCK_TIMEOUT.as_millis();
        let begin = format!("BEGIN; SET LOCAL lock_timeout = {timeout}");
        while_away(async || {
            let client = connect(&self.url).await?;
            client.batch_execute(&begin).await?;
            Ok(client)
        })
        .await
    }

    /// Keeps the session's transaction open for the duration. If the server ends the session, its
    /// locks end too.
    fn hold(
        &mut self,
        client: Client,
        locked: Result<u64, tokio_postgres::Error>,
        duration: Duration,
    ) -> Result<bool, ProveError> {
        match locked {
            Ok(0) => return Ok(false),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
            // The session has ended, and with it the wait for the lock.
            Err(error) if is_away(&error) => return Ok(false),
            locked => locked?,
        };
        self.locks.push(tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            // Fails only when the session has ended, and with it the lock.
            let _ = client.batch_execute("ROLLBACK").await;
        }));
        Ok(true)
    }

    /// Makes commits wait for a standby that does not exist, for the duration. Returns whether a
    /// commit was seen to wait.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delay_commits(&mut self, duration: Duration) -> Result<bool, ProveError> {
        if let Some(previous) = self.standby_wait.take() {
            // The end of the previous wait would end this one too early.
            let _ = previous.await;
        }
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{ABSENT_STANDBY}'");
        while_away(async || change_setting(&self.url, &set, ABSENT_STANDBY).await).await?;
        let is_waiting = while_away(async || commits_wait(&self.url).await).await?;
        let url = self.url.clone();
        self.standby_wait = Some(tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            // If the server does not answer, `end_all` resets the setting.
            let _ = reset_standby(&url).await;
        }));
        Ok(is_waiting)
    }

    /// Ends all sessions of a service. Returns whether it had any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_sessions(&self, service: ServiceKind) -> Result<bool, ProveError> {
        let mut session = Session::new(self.url.clone());
        let statement =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        let started = Instant::now();
        // A service that has just started opens its first session when it needs one.
        let end = async |client: &Client| client.execute(statement, &[&service.as_str()]).await;
        while session.ask(end).await? == 0 {
            if started.elapsed() > SESSION_TIMEOUT {
                return Ok(false);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(true)
    }

    /// Ends all locks and waits. The standby setting survives a restart of the server, so it is
    /// reset in any case.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_all(&mut self) -> Result<(), ProveError> {
        for task in self.locks.drain(..).chain(self.standby_wait.take()) {
            task.abort();
            // The task owns the session, and the transaction ends with it.
            let _ = task.await;
        }
        while_away(async || change_setting(&self.url, RESET_STANDBY, "").await).await
    }
}

/// Tries again for 30 s while the server is down. `while_away` cannot do it, because the compiler
/// does not see that its future may be sent to the task of [`DatabaseFaults::delay_commits`].
async fn reset_standby(url: &DatabaseUrl) -> Result<(), ProveError> {
    let started = Instant::now();
    loop {
        match change_setting(url, RESET_STANDBY, "").await {
            Err(_) if started.elapsed() < SETTING_TIMEOUT => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}

/// Changes the standby setting, and returns when sessions see the new value.
async fn change_setting(url: &DatabaseUrl, statement: &str, value: &str) -> Result<(), ProveError> {
    let client = connect(url).await?;
    // Without this, the session's own commits would wait for the standby.
    client
        .batch_execute("SET synchronous_commit = local")
        .await?;
    // Several statements in one call would be a transaction, in which ALTER SYSTEM is not allowed.
    client.batch_execute(statement).await?;
    client.batch_execute("SELECT pg_reload_conf()").await?;
    let started = Instant::now();
    loop {
        let row = client
            .query_one("SHOW synchronous_standby_names", &[])
            .await?;
        if row.get::<_, String>(0) == value {
            return Ok(());
        }
        if started.elapsed() > SETTING_TIMEOUT {
            let cause = "the database did not read its settings within 30 s";
            return Err(io::Error::other(cause).into());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Commits until a commit of this or of another session waits for the standby. Seeing the setting
/// is not enough: a different server process applies it.
async fn commits_wait(url: &DatabaseUrl) -> Result<bool, ProveError> {
    let (committer, watcher) = (connect(url).await?, connect(url).await?);
    let started = Instant::now();
    while started.elapsed() < SETTING_TIMEOUT {
        let commit = committer.batch_execute("SELECT pg_logical_emit_message(true, 'prove', '')");
        let timed_out = tokio::time::timeout(POLL_INTERVAL, commit).await.is_err();
        if timed_out && watcher.execute(WAITING_COMMITS, &[]).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
