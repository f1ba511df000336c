//! A PostgreSQL that one test may do anything to, and an order service on it.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio_postgres::{Client, NoTls};
use valerix::testbed::postgres::{Home, Server};

use super::{Answer, Service, eventually, free_port};

/// A piece of database work is given up after 3 s; a request is answered soon after.
pub const BOUND: Duration = Duration::from_secs(6);
pub const RELOAD: &str = "SELECT pg_reload_conf()";

/// A PostgreSQL of the test's own, stopped and removed at its end.
pub struct Own {
    pub server: Server,
    pub root: PathBuf,
    ended: bool,
}

impl Own {
    pub async fn start(settings: Vec<String>) -> Self {
        let root = std::env::temp_dir().join(format!(
            "valerix-own-{}-{}",
            std::process::id(),
            free_port()
        ));
        Self::start_in(root, settings).await
    }

    /// With its files in a directory of one's choice.
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

    /// Each by itself, as `ALTER SYSTEM` wants it, in one session.
    pub async fn execute(&self, statements: &[&str]) {
        execute(&self.client().await, statements).await;
    }

    /// With nobody behind it: what it takes it answers with 202.
    pub async fn order_service(&self, extra: &[(&'static str, &str)]) -> Service {
        let service = order_service_on(self.server.url("postgres"), extra);
        service.ready().await;
        service
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("postgres.log")).unwrap()
    }

    /// Stops the server; its files are left to whoever gave it their place.
    pub async fn stop(&mut self) {
        self.server.stop().await;
        self.ended = true;
    }

    pub async fn end(mut self) {
        self.stop().await;
        std::fs::remove_dir_all(&self.root).unwrap();
    }

    /// All its processes at once: it hangs, and says nothing, while the system still accepts
    /// connections for it.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let postmaster = self.server.pid();
        // The first, so that it starts no others meanwhile.
        let _ = kill(Pid::from_raw(postmaster), signal);
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            // One that ended meanwhile says nothing either.
            let _ = kill(Pid::from_raw(child.parse().unwrap()), signal);
        }
    }
}

/// A test that fails leaves no server behind.
impl Drop for Own {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGQUIT);
            // A frozen process would hear of nothing.
            self.signal(Signal::SIGCONT);
        }
    }
}

pub async fn place(service: &Service) -> Answer {
    service
        .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
        .await
}

/// Trouble of the database's is said to be that, and soon.
#[track_caller]
pub fn is_refused(answer: &Answer) {
    // Whether it met a lock or queued behind one that did.
    let code = if answer.json()["code"] == "locked" {
        "locked"
    } else {
        "database-unavailable"
    };
    answer.is_problem(503, code);
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(answer.took < BOUND, "{:?}", answer.took);
}

pub async fn takes_orders_again(service: &Service) {
    eventually("orders to be taken again", async || {
        (place(service).await.status == 202).then_some(())
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

/// An order service on a database, with nobody behind it: what it takes it answers with 202.
pub fn order_service_on(database: String, extra: &[(&'static str, &str)]) -> Service {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut env = vec![
        ("DATABASE_URL", database),
        ("INVENTORY_SERVICE_URL", nobody.clone()),
        ("PAYMENT_SERVICE_URL", nobody),
    ];
    env.extend(
        extra
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    Service::start("order", free_port(), &env)
}

/// A server that also listens on a port of 127.0.0.1.
pub struct Reachable {
    pub own: Own,
    pub port: u16,
}

impl Reachable {
    pub async fn start() -> Self {
        let port = free_port();
        let own = Own::start(vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
        ])
        .await;
        Self { own, port }
    }

    /// By the port, after which its socket is named too.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What a standby does: sessions that are there refuse writes from now on, too.
    pub async fn take_writes(&self, yes: bool) {
        let value = if yes { "off" } else { "on" };
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        execute(
            &self.client().await,
            &["SET default_transaction_read_only = off", &set, RELOAD],
        )
        .await;
    }
}
