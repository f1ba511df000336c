//! A PostgreSQL that one test may do anything to, and an order service on it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio_postgres::{Client, NoTls};
use valerix::postgres::{Home, Server};

use super::{Answer, Service, eventually, free_port};

/// A piece of database work is given up after 3 s; a request is answered soon after.
pub const BOUND: Duration = Duration::from_secs(6);

/// A PostgreSQL of the test's own, stopped and removed at its end.
pub struct Own {
    pub server: Server,
    pub root: PathBuf,
    ended: bool,
}

impl Own {
    pub async fn start(settings: Vec<String>) -> Self {
        let root = std::env::temp_dir().join(format!("valerix-own-{}-{}", std::process::id(), free_port()));
        Self::start_in(root, settings).await
    }

    /// With its files in a directory of one's choice.
    pub async fn start_in(root: PathBuf, settings: Vec<String>) -> Self {
        let server = Server::start(Home::open(&root).unwrap(), settings).await.unwrap();
        Self { server, root, ended: false }
    }

    pub async fn client(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.server.url("postgres"), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Each by itself, as `ALTER SYSTEM` wants it, in one session.
    pub async fn execute(&self, statements: &[&str]) {
        let client = self.client().await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap();
        }
    }

    /// With nobody behind it: what it takes it answers with 202.
    pub async fn order_service(&self, extra: &[(&'static str, &str)]) -> Service {
        let nobody = format!("http://127.0.0.1:{}", free_port());
        let mut env = vec![
            ("DATABASE_URL", self.server.url("postgres")),
            ("INVENTORY_SERVICE_URL", nobody.clone()),
            ("PAYMENT_SERVICE_URL", nobody),
        ];
        env.extend(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let service = Service::start("order", free_port(), &env);
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
}

/// A test that fails leaves no server behind.
impl Drop for Own {
    fn drop(&mut self) {
        if !self.ended {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(self.server.pid()),
                nix::sys::signal::Signal::SIGQUIT,
            );
        }
    }
}

pub async fn place(service: &Service) -> Answer {
    service.post("/orders", &json!({"product_id": "PROD-001", "quantity": 1})).await
}

/// Trouble of the database's is said to be that, and soon.
#[track_caller]
pub fn is_refused(answer: &Answer) {
    answer.is_problem(503, "database-unavailable");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(answer.took < BOUND, "{:?}", answer.took);
}

pub async fn takes_orders_again(service: &Service) {
    eventually("orders to be taken again", async || (place(service).await.status == 202).then_some(())).await;
}
