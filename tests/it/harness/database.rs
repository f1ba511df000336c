//! One private PostgreSQL server for all tests of a run. Each test has a database there, cloned
//! from a migrated template.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls, Row};
use valerix::platform::db::{DatabaseUrl, migrate};
use valerix::testbed::postgres::{Home, Server};

use super::eventually;

const TEMPLATE: &str = "template_valerix";

struct Shared {
    server: Server,
    /// Closes when the test process ends, for whatever reason. The watcher then stops the server.
    _lifeline: ChildStdin,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        // The server starts on a runtime of its own, because it outlives the first test that uses
        // it.
        std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(start()))
            .join()
            .unwrap()
    })
}

async fn start() -> Shared {
    let root = std::env::temp_dir().join(format!("valerix-test-{}", std::process::id()));
    let home = Home::open(&root).unwrap();
    let server = Server::start(home, vec!["max_connections=600".to_owned()])
        .await
        .unwrap();
    let mut watcher = Command::new("sh");
    let script = "cat; kill -INT \"$0\"
        while kill -0 \"$0\" 2>/dev/null; do sleep 0.1; done; rm -rf \"$1\"";
    watcher
        .args(["-c", script, &server.pid().to_string()])
        .arg(&root)
        .stdin(Stdio::piped())
        .process_group(0);
    let mut lifeline = watcher.spawn().unwrap().stdin.take().unwrap();
    lifeline.flush().unwrap();
    server.ensure_database(TEMPLATE).await.unwrap();
    migrate(&DatabaseUrl::from_str(&server.url(TEMPLATE)).unwrap())
        .await
        .unwrap();
    Shared {
        server,
        _lifeline: lifeline,
    }
}

/// Returns the SQL by which each product has this many units in stock, and the deliveries say so.
pub fn stock_of(units: i32) -> String {
    format!(
        "WITH moved AS (
            UPDATE inventory SET stock = {units}, stocked = {units} + reserved + shipped
            RETURNING product_id, stock, reserved, stocked),
         missing AS (
            SELECT product_id, stocked - (
                SELECT COALESCE(sum(quantity), 0) FROM deliveries d
                WHERE d.product_id = moved.product_id) AS units
            FROM moved)
         INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
         SELECT product_id, units, stock, reserved, stocked
         FROM moved JOIN missing USING (product_id) WHERE units <> 0"
    )
}

/// A database for one test.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Creates a database with the schema.
    pub async fn create() -> Self {
        let this = Self::named();
        connect("postgres")
            .await
            .batch_execute(&format!(
                "CREATE DATABASE {} TEMPLATE {TEMPLATE}",
                this.name
            ))
            .await
            .unwrap();
        this
    }

    /// Creates a database without the schema.
    pub async fn empty() -> Self {
        let this = Self::named();
        this.create_now().await;
        this
    }

    /// Creates the database that was only named so far, without the schema.
    pub async fn create_now(&self) {
        self.create_with("").await;
    }

    /// Creates the database with options of `CREATE DATABASE`, without the schema.
    pub async fn create_with(&self, options: &str) {
        let create = format!("CREATE DATABASE {} {options}", self.name);
        connect("postgres")
            .await
            .batch_execute(&create)
            .await
            .unwrap();
    }

    /// Chooses a name for a database that does not exist yet.
    pub fn named() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            name: format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub fn url(&self) -> String {
        shared().server.url(&self.name)
    }

    /// Closes every connection and rejects new ones until `accept_connections`.
    pub async fn refuse_connections(&self) {
        let name = &self.name;
        let postgres = connect("postgres").await;
        postgres
            .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            .await
            .unwrap();
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        eventually("every session to end", async || {
            let sessions: i64 = postgres.query_one(&end, &[]).await.unwrap().get(0);
            (sessions == 0).then_some(())
        })
        .await;
    }

    pub async fn accept_connections(&self) {
        let name = &self.name;
        let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
        connect("postgres")
            .await
            .batch_execute(&open)
            .await
            .unwrap();
    }

    /// Opens a session, for locks and transactions that last over several statements.
    pub async fn session(&self) -> Client {
        connect(&self.name).await
    }

    pub async fn query(&self, statement: &str) -> Vec<Row> {
        connect(&self.name)
            .await
            .query(statement, &[])
            .await
            .unwrap()
    }

    pub async fn execute(&self, statements: &str) {
        connect(&self.name)
            .await
            .batch_execute(statements)
            .await
            .unwrap();
    }

    /// The single number that a statement returns.
    pub async fn count(&self, statement: &str) -> i64 {
        self.query(statement).await[0].get(0)
    }
}

async fn connect(database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&shared().server.url(database), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}
