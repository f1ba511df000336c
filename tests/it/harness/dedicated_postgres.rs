//! A PostgreSQL server for one test, which may stop, lock and reconfigure it; and order services
//! on it.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio_postgres::{Client, NoTls};
use valerix::testbed::postgres::{Home, Server};

use super::{Response, Service, eventually, free_port};

/// Database work times out after 3 s, and the request is answered soon after that.
pub const MAX_RESPONSE_TIME: Duration = Duration::from_secs(6);
pub const RELOAD: &str = "SELECT pg_reload_conf()";

/// A running PostgreSQL server. `end` stops it and removes its files.
pub struct DedicatedPostgres {
    pub server: Server,
    pub root: PathBuf,
    ended: bool,
}

impl DedicatedPostgres {
    pub async fn start(settings: Vec<String>) -> Self {
        let root = std::env::temp_dir().join(format!(
            "valerix-dedicated-{}-{}",
            std::process::id(),
            free_port()
        ));
        Self::start_in(root, settings).await
    }

    /// Starts a server with its files in the given directory.
    pub async fn start_in(root: PathBuf, settings: Vec<String>) -> Self {
        let server = Server::start(Home::open(&root).unwrap(), settings)
            .await
            .unwrap();
        Self {
            server,
            root,
            ended: false,
        }
    }

    pub async fn client(&self) -> Client {
        connect(&self.server.url("postgres")).await
    }

    /// Runs the statements in one session, each in a transaction of its own, as `ALTER SYSTEM`
    /// requires.
    pub async fn execute(&self, statements: &[&str]) {
        execute(&self.client().await, statements).await;
    }

    /// Starts an order service without inventory and payment: it answers each accepted order with
    /// 202.
    pub async fn order_service(&self, extra: &[(&'static str, &str)]) -> Service {
        let service = start_order_service(self.server.url("postgres"), extra);
        service.wait_until_ready().await;
        service
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("postgres.log")).unwrap()
    }

    /// Stops the server and keeps its files.
    pub async fn stop(&mut self) {
        self.server.stop().await;
        self.ended = true;
    }

    pub async fn end(mut self) {
        self.stop().await;
        std::fs::remove_dir_all(&self.root).unwrap();
    }

    /// Suspends all processes of the server. Open connections hang, while the kernel still accepts
    /// new ones.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let postmaster = self.server.pid();
        // The postmaster comes first, so that it starts no process that would be missed.
        let _ = kill(Pid::from_raw(postmaster), signal);
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            // A process that has ended since the list was read needs no signal.
            let _ = kill(Pid::from_raw(child.parse().unwrap()), signal);
        }
    }
}

/// Stops the server of a test that failed.
impl Drop for DedicatedPostgres {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGQUIT);
            // A suspended process handles the signal only after it continues.
            self.signal(Signal::SIGCONT);
        }
    }
}

pub async fn place_order(service: &Service) -> Response {
    service
        .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
        .await
}

/// Checks that the response is a 503 that names the database, has `Retry-After`, and came in time.
#[track_caller]
pub fn assert_database_unavailable(response: &Response) {
    // A request that waits for a lock gets `locked`, one in the queue behind it the other code.
    let code = if response.json()["code"] == "locked" {
        "locked"
    } else {
        "database-unavailable"
    };
    response.assert_problem(503, code);
    assert!(response.header("retry-after").parse::<u32>().is_ok());
    assert!(response.took < MAX_RESPONSE_TIME, "{:?}", response.took);
}

pub async fn wait_until_orders_are_accepted(service: &Service) {
    eventually("the service to accept orders again", async || {
        (place_order(service).await.status == 202).then_some(())
    })
    .await;
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn execute(client: &Client, statements: &[&str]) {
    for statement in statements {
        client.batch_execute(statement).await.unwrap();
    }
}

/// Starts an order service on a database, without inventory and payment: it answers each accepted
/// order with 202.
pub fn start_order_service(database: String, extra: &[(&'static str, &str)]) -> Service {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let mut env = vec![
        ("DATABASE_URL", database),
        ("INVENTORY_SERVICE_URL", nowhere.clone()),
        ("PAYMENT_SERVICE_URL", nowhere),
    ];
    env.extend(
        extra
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    Service::start("order", free_port(), &env)
}

/// A server that also listens on a TCP port of 127.0.0.1.
pub struct TcpPostgres {
    pub postgres: DedicatedPostgres,
    pub port: u16,
}

impl TcpPostgres {
    pub async fn start() -> Self {
        let port = free_port();
        let postgres = DedicatedPostgres::start(vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
        ])
        .await;
        Self { postgres, port }
    }

    /// Connects by TCP. The name of the socket ends in this port, so the default socket is absent.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Allows or rejects writes, as on a primary or a standby; also in sessions that are open now.
    pub async fn accept_writes(&self, accept: bool) {
        let value = if accept { "off" } else { "on" };
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        execute(
            &self.client().await,
            &["SET default_transaction_read_only = off", &set, RELOAD],
        )
        .await;
    }
}
