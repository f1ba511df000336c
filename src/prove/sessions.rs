//! Faults that another database session causes: locks, commits that wait for a standby, ended
//! sessions.
//!
//! A lock and a wait go on while other faults come, a restart of the database among them. Each ends
//! by itself; [`DatabaseFaults::undo`] ends all.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

use super::ProveError;
use super::plan::{OrdersLock, Role};
use crate::platform::db::DatabaseUrl;

/// No standby has this name.
const ABSENT_STANDBY: &str = "nobody";
/// Longer than any other fault holds what a lock waits for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(6);
/// For the server to read a changed setting, or to come back after a restart.
const SETTING_TIMEOUT: Duration = Duration::from_secs(30);
/// For a role to open a session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const WAITING_COMMITS: &str = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
/// Rows that a lock of the newest orders takes.
const NEWEST_ROWS: i64 = 20;

/// A session of its own, not in the pool of any service.
///
/// # Errors
/// When the server does not answer.
pub async fn connect(url: &DatabaseUrl) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url.with_password(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The faults in progress.
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

    /// Locks a product's row. Returns whether the lock is held, which it is until the time is up.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock_product(
        &mut self,
        product_id: &str,
        lasting: Duration,
    ) -> Result<bool, ProveError> {
        let client = self.begin().await?;
        let statement = "SELECT FROM inventory WHERE product_id = $1 FOR UPDATE";
        let locked = client.execute(statement, &[&product_id]).await;
        self.hold(client, locked, lasting)
    }

    /// Locks the table `orders`, or its newest rows. Returns whether the lock is held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock_orders(
        &mut self,
        lock: OrdersLock,
        lasting: Duration,
    ) -> Result<bool, ProveError> {
        let client = self.begin().await?;
        let locked = match lock {
            OrdersLock::Table => client
                .batch_execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                .await
                .map(|()| 1),
            // Rows that somebody has locked are left out: waiting for one while others are held
            // could be a deadlock.
            OrdersLock::NewestRows => {
                let statement =
                    "SELECT FROM orders ORDER BY created_at DESC LIMIT $1 FOR UPDATE SKIP LOCKED";
                client.execute(statement, &[&NEWEST_ROWS]).await
            }
        };
        self.hold(client, locked, lasting)
    }

    async fn begin(&self) -> Result<Client, ProveError> {
        let client = connect(&self.url).await?;
        let limit = LOCK_TIMEOUT.as_millis();
        client
            .batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = {limit}"))
            .await?;
        Ok(client)
    }

    /// Keeps the session's transaction open until the time is up. A session that the server ends
    /// has no locks.
    fn hold(
        &mut self,
        client: Client,
        locked: Result<u64, Error>,
        lasting: Duration,
    ) -> Result<bool, ProveError> {
        match locked {
            Ok(0) => return Ok(false),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
            locked => locked?,
        };
        self.locks.push(tokio::spawn(async move {
            tokio::time::sleep(lasting).await;
            let _ = client.batch_execute("ROLLBACK").await;
        }));
        Ok(true)
    }

    /// Makes commits wait for a standby that does not exist, until the time is up. Returns whether
    /// one waits.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delay_commits(&mut self, lasting: Duration) -> Result<bool, ProveError> {
        if let Some(previous) = self.standby_wait.take() {
            // Its end would cut this one short.
            let _ = previous.await;
        }
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{ABSENT_STANDBY}'");
        apply(&self.url, &set, ABSENT_STANDBY).await?;
        let waits = commits_wait(&self.url).await?;
        let url = self.url.clone();
        self.standby_wait = Some(tokio::spawn(async move {
            tokio::time::sleep(lasting).await;
            let _ = reset_standby(&url).await;
        }));
        Ok(waits)
    }

    /// Ends all sessions of a role. Returns whether it had any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_sessions(&self, role: Role) -> Result<bool, ProveError> {
        let client = connect(&self.url).await?;
        let statement =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        let started = Instant::now();
        // A role that was started a moment ago opens its first session when it needs one.
        while client.execute(statement, &[&role.as_str()]).await? == 0 {
            if started.elapsed() > SESSION_TIMEOUT {
                return Ok(false);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(true)
    }

    /// Ends every lock and wait. The setting survives a restart of the server, so it is reset in
    /// any case.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn undo(&mut self) -> Result<(), ProveError> {
        for task in self.locks.drain(..).chain(self.standby_wait.take()) {
            task.abort();
            // The transaction ends with the task's session.
            let _ = task.await;
        }
        reset_standby(&self.url).await
    }
}

/// Repeats it while the server is away.
async fn reset_standby(url: &DatabaseUrl) -> Result<(), ProveError> {
    let started = Instant::now();
    loop {
        match apply(url, "ALTER SYSTEM RESET synchronous_standby_names", "").await {
            Err(_) if started.elapsed() < SETTING_TIMEOUT => {
                tokio::time::sleep(POLL_INTERVAL).await
            }
            outcome => return outcome,
        }
    }
}

/// Changes the setting, and returns when sessions see the new value.
async fn apply(url: &DatabaseUrl, statement: &str, value: &str) -> Result<(), ProveError> {
    let client = connect(url).await?;
    // No commit of this session waits for the standby.
    client
        .batch_execute("SET synchronous_commit = local")
        .await?;
    // Not in one call with others, which would be a transaction.
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
            return Err(std::io::Error::other(
                "the database did not read its settings within 30 s",
            )
            .into());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Commits until a commit waits for the standby: one of this session's or of any other. A session
/// that sees the new setting says nothing about that, since another process of the server decides
/// it.
async fn commits_wait(url: &DatabaseUrl) -> Result<bool, ProveError> {
    let (committer, watcher) = (connect(url).await?, connect(url).await?);
    let started = Instant::now();
    while started.elapsed() < SETTING_TIMEOUT {
        let commit = committer.batch_execute("SELECT pg_logical_emit_message(true, 'prove', '')");
        let unfinished = tokio::time::timeout(POLL_INTERVAL, commit).await.is_err();
        if unfinished && watcher.execute(WAITING_COMMITS, &[]).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::postgres::{Home, Server, temporary_home};

    const LONG: Duration = Duration::from_secs(600);

    /// A server with the two tables that are locked, without anything in them but one product.
    struct Database {
        server: Server,
        faults: DatabaseFaults,
        home: std::path::PathBuf,
    }

    impl Database {
        async fn start(name: &str) -> Self {
            let home = temporary_home(name).unwrap();
            let server = Server::start(Home::open(&home).unwrap(), Vec::new())
                .await
                .unwrap();
            server.ensure_database("faults").await.unwrap();
            let url: DatabaseUrl = server.url("faults").parse().unwrap();
            let tables = "CREATE TABLE inventory (product_id TEXT, stock INT);
                CREATE TABLE orders (id INT, created_at TIMESTAMPTZ DEFAULT now());
                INSERT INTO inventory VALUES ('P-0', 1)";
            connect(&url)
                .await
                .unwrap()
                .batch_execute(tables)
                .await
                .unwrap();
            Self {
                server,
                faults: DatabaseFaults::new(url),
                home,
            }
        }

        /// Runs a statement that gives up on a lock after a moment; returns whether it was done.
        async fn runs(&self, statement: &str) -> bool {
            let client = connect(&self.faults.url).await.unwrap();
            let limited = format!("SET lock_timeout = 50; {statement}");
            match client.batch_execute(&limited).await {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error}");
                    false
                }
            }
        }

        /// Starts an insert; returns when its commit waits for the standby.
        async fn waiting_insert(&self) -> JoinHandle<Result<(), Error>> {
            let client = connect(&self.faults.url).await.unwrap();
            let insert =
                tokio::spawn(
                    async move { client.batch_execute("INSERT INTO orders VALUES (1)").await },
                );
            let watcher = connect(&self.faults.url).await.unwrap();
            let waiting = format!("{WAITING_COMMITS} AND query LIKE 'INSERT%'");
            let started = Instant::now();
            while watcher.execute(&waiting, &[]).await.unwrap() == 0 {
                assert!(started.elapsed() < SETTING_TIMEOUT, "no commit waits");
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            insert
        }

        async fn end(mut self) {
            self.server.stop().await;
            std::fs::remove_dir_all(self.home).unwrap();
        }
    }

    #[tokio::test]
    async fn a_lock_holds_until_it_is_undone() {
        let mut database = Database::start("locks").await;
        let (product, order) = (
            "UPDATE inventory SET stock = 2",
            "INSERT INTO orders VALUES (1)",
        );
        assert!(
            !database
                .faults
                .lock_orders(OrdersLock::NewestRows, LONG)
                .await
                .unwrap(),
            "there is no row"
        );
        assert!(
            !database.faults.lock_product("P-1", LONG).await.unwrap(),
            "there is no such product"
        );
        assert!(database.faults.lock_product("P-0", LONG).await.unwrap());
        assert!(!database.runs(product).await && database.runs(order).await);
        assert!(
            database
                .faults
                .lock_orders(OrdersLock::NewestRows, LONG)
                .await
                .unwrap()
        );
        assert!(!database.runs("UPDATE orders SET id = 2").await && database.runs(order).await);
        database.faults.undo().await.unwrap();
        assert!(
            database
                .faults
                .lock_orders(OrdersLock::Table, LONG)
                .await
                .unwrap()
        );
        assert!(database.runs(product).await && !database.runs(order).await);
        database.faults.undo().await.unwrap();
        assert!(database.runs(order).await);
        database.end().await;
    }

    #[tokio::test]
    async fn a_standby_wait_is_undone_after_a_restart_too() {
        let mut database = Database::start("standby").await;
        assert!(database.faults.delay_commits(LONG).await.unwrap());
        for kill in [false, true] {
            let insert = database.waiting_insert().await;
            if kill {
                database.server.kill().await;
            } else {
                database.server.stop().await;
            }
            database.server.restart().await.unwrap();
            assert!(insert.await.unwrap().is_err());
        }
        let insert = database.waiting_insert().await;
        database.faults.undo().await.unwrap();
        insert.await.unwrap().unwrap();
        // Both of the commits that were cut off are stored all the same.
        let client = connect(&database.faults.url).await.unwrap();
        let stored: i64 = client
            .query_one("SELECT count(*) FROM orders", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(stored, 3);
        database.end().await;
    }

    #[tokio::test]
    async fn a_standby_wait_ends_by_itself_and_the_next_one_lasts() {
        let mut database = Database::start("waits").await;
        let lasting = Duration::from_millis(500);
        let started = Instant::now();
        assert!(database.faults.delay_commits(lasting).await.unwrap());
        assert!(database.faults.delay_commits(LONG).await.unwrap());
        // The end of the first cannot end the second any more.
        assert!(started.elapsed() >= lasting);
        let insert = database.waiting_insert().await;
        database.faults.undo().await.unwrap();
        insert.await.unwrap().unwrap();
        assert!(database.faults.delay_commits(lasting).await.unwrap());
        let insert = database.runs("INSERT INTO orders VALUES (2)");
        assert!(
            tokio::time::timeout(SETTING_TIMEOUT, insert)
                .await
                .expect("the wait ends")
        );
        database.end().await;
    }

    #[tokio::test]
    async fn only_the_sessions_of_the_role_are_ended() {
        let database = Database::start("sessions").await;
        let of = |role: Role| {
            format!(
                "{}?application_name={}",
                database.server.url("faults"),
                role.as_str()
            )
        };
        let order = connect(&of(Role::Order).parse().unwrap()).await.unwrap();
        let payment = connect(&of(Role::Payment).parse().unwrap()).await.unwrap();
        assert!(database.faults.end_sessions(Role::Order).await.unwrap());
        assert!(order.batch_execute("SELECT 1").await.is_err());
        payment.batch_execute("SELECT 1").await.unwrap();
        database.end().await;
    }
}
