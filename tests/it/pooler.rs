//! PgBouncer in transaction mode between the services and PostgreSQL: each transaction of a
//! connection may run in another session.

use std::path::Path;
use std::process::Stdio;

use nix::unistd::{Uid, User};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use valerix::platform::db::{DatabaseUrl, migrate};

use crate::harness::dedicated_postgres::DedicatedPostgres;
use crate::harness::{LONG_STEPS, PROGRAM, Service, eventually, free_port, stock_of};

const POOLER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/tools/pgbouncer/pgbouncer"
);
/// The settings that the services need in each session.
const CONNECT_QUERY: &str = "SET statement_timeout = 1500; SET lock_timeout = 100; \
    SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET plan_cache_mode = force_generic_plan";
/// Sessions on the server: fewer than the connections between the services and the pooler.
const SESSIONS: usize = 3;

/// Orders that are placed at a time. Many more would wait so long for a session, on a loaded
/// machine, that some are rejected.
const AT_ONCE: usize = 12;

/// A running PgBouncer, configured as docs/pgbouncer.md says.
struct Pooler {
    process: Child,
    configuration: String,
    port: u16,
}

impl Pooler {
    fn start(postgres: &DedicatedPostgres) -> Self {
        let port = free_port();
        let sockets = postgres.root.join("socket");
        let configuration = format!(
            "[databases]
            postgres = host={} port=5432 user=postgres connect_query='{CONNECT_QUERY}'
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            admin_users = admin
            pool_mode = transaction
            default_pool_size = {SESSIONS}
            max_client_conn = 200
            max_prepared_statements = 200
            ",
            sockets.display()
        );
        let configuration = configuration
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n");
        let path = postgres.root.join("pgbouncer.ini");
        std::fs::write(&path, configuration).unwrap();
        let configuration = path.to_str().unwrap().to_owned();
        Self {
            process: spawn(&configuration),
            configuration,
            port,
        }
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!(
            "postgres://{user}@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    async fn restart(&mut self) {
        self.process.kill().await.unwrap();
        self.process = spawn(&self.configuration);
    }

    async fn client(&self, user: &str, database: &str) -> Client {
        eventually("the pooler to answer", async || {
            let (client, connection) = tokio_postgres::connect(&self.url(user, database), NoTls)
                .await
                .ok()?;
            tokio::spawn(connection);
            Some(client)
        })
        .await
    }

    /// How many connections the services have to the pooler.
    async fn connected_clients(&self) -> usize {
        let messages = self
            .client("admin", "pgbouncer")
            .await
            .simple_query("SHOW CLIENTS")
            .await
            .unwrap();
        let databases = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(client) => client.get("database"),
            _ => None,
        });
        databases.filter(|name| *name == "postgres").count()
    }
}

fn spawn(configuration: &str) -> Child {
    assert!(
        Path::new(POOLER).exists(),
        "PgBouncer is not installed: run scripts/install-pgbouncer"
    );
    let mut command = Command::new(POOLER);
    if Uid::effective().is_root() {
        // PgBouncer does not run as root. As PostgreSQL's user it can open the server's socket.
        let user = User::from_name("postgres")
            .unwrap()
            .or(User::from_name("nobody").unwrap())
            .unwrap();
        command.args(["-u", &user.name]);
    }
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(format!("{configuration}.log"))
        .unwrap();
    command
        .arg(configuration)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    command.spawn().unwrap()
}

/// Starts the three services behind the pooler, with more connections than it has sessions.
async fn start_services(pooler: &Pooler) -> ([Service; 3], Vec<(&'static str, String)>) {
    let ports = [free_port(), free_port(), free_port()];
    let env = vec![
        ("DATABASE_URL", pooler.url("postgres", "postgres")),
        ("DATABASE_POOL_SIZE", "12".to_owned()),
        (
            "INVENTORY_SERVICE_URL",
            format!("http://127.0.0.1:{}", ports[1]),
        ),
        (
            "PAYMENT_SERVICE_URL",
            format!("http://127.0.0.1:{}", ports[2]),
        ),
        ("PAYMENT_SUCCESS_RATE", "1".to_owned()),
        (LONG_STEPS.0, LONG_STEPS.1.to_owned()),
    ];
    let start = |role: &str, port| Service::start(role, port, &env);
    let start_services = [
        start("order", ports[0]),
        start("inventory", ports[1]),
        start("payment", ports[2]),
    ];
    futures_util::future::join_all(start_services.iter().map(Service::wait_until_ready)).await;
    (start_services, env)
}

/// Places `count` orders at the same time, reads each one and the list, and returns the statuses.
async fn place_orders(order: &Service, count: usize) -> Vec<u16> {
    let one = async |_| {
        let body = json!({"product_id": "PROD-001", "quantity": 1});
        let placed = order.post("/orders", &body).await;
        let shown = order.get(placed.header("location")).await;
        assert_eq!(
            shown.json()["id"],
            placed.json()["id"],
            "{placed:?} {shown:?}"
        );
        assert_eq!(order.get("/orders").await.status, 200);
        placed.status.as_u16()
    };
    futures_util::future::join_all((0..count).map(one)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_work_behind_a_pooler_with_fewer_sessions_than_connections() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let mut pooler = Pooler::start(&postgres);
    // All three services migrate the empty database at the same time, through the pooler.
    let ([order, mut inventory, payment], env) = start_services(&pooler).await;
    postgres.execute(&[&stock_of(100_000)]).await;
    for _ in 0..15 {
        assert_eq!(place_orders(&order, AT_ONCE).await, vec![201; AT_ONCE]);
    }
    let connected = "SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let client = postgres.client().await;
    // A session that has just ended may still be listed for a moment.
    eventually("all sessions to be the pooler's", async || {
        let connected: i64 = client.query_one(connected, &[]).await.unwrap().get(0);
        (connected == i64::try_from(SESSIONS).unwrap()).then_some(())
    })
    .await;
    let clients = pooler.connected_clients().await;
    assert!(
        clients > SESSIONS,
        "{clients} connections are too few for this test"
    );
    let setting = pooler
        .client("postgres", "postgres")
        .await
        .simple_query("SHOW enable_seqscan")
        .await
        .unwrap();
    assert!(
        matches!(&setting[1], SimpleQueryMessage::Row(row) if row.get(0) == Some("off")),
        "{setting:?}"
    );

    // Recovery finishes the orders that inventory did not answer.
    inventory.process.kill().await.unwrap();
    assert!(
        place_orders(&order, 10)
            .await
            .iter()
            .all(|status| *status == 202)
    );
    inventory.restart(&env, &[]).await;
    // It also finishes the orders that a restart of the pooler has interrupted. No service has to
    // be restarted.
    pooler.restart().await;
    eventually("orders to be confirmed again", async || {
        let body = json!({"product_id": "PROD-001", "quantity": 1}).to_string();
        let placed = order
            .try_request(Method::POST, "/orders", &[], Some(&body))
            .await
            .ok()?;
        (placed.status == 201).then_some(())
    })
    .await;
    eventually("every order to be settled", async || {
        let audit = order.get("/audit").await.json();
        (audit["orders"]["unsettled"] == 0 && audit["clean"] == true).then_some(())
    })
    .await;

    let mut audit = Command::new(PROGRAM);
    audit
        .args(["audit", "--json"])
        .env_clear()
        .env("DATABASE_URL", pooler.url("postgres", "postgres"));
    let audit = audit.output().await.unwrap();
    let report: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert!(
        audit.status.success() && report["clean"] == true,
        "{audit:?}"
    );
    for service in [&order, &inventory, &payment] {
        let mixed_up = |line: &String| line.contains("prepared statement");
        assert_eq!(service.lines().into_iter().find(mixed_up), None);
    }
    drop(pooler);
    postgres.end().await;
}

/// A lock of a session would outlive its client: the pooler gives the session to the next one.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_through_a_pooler_leave_no_lock_behind() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let pooler = Pooler::start(&postgres);
    pooler.client("postgres", "postgres").await;
    let url: DatabaseUrl = pooler.url("postgres", "postgres").parse().unwrap();
    let all = futures_util::future::join_all((0..6).map(|_| migrate(&url))).await;
    assert_eq!(
        all.iter()
            .filter(|applied| !applied.as_ref().unwrap().is_empty())
            .count(),
        1,
        "{all:?}"
    );
    let locks = postgres
        .client()
        .await
        .query_one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            &[],
        )
        .await;
    assert_eq!(locks.unwrap().get::<_, i64>(0), 0);
    drop(pooler);
    postgres.end().await;
}
