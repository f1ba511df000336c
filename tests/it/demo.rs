//! `valerix demo`: its processes are killed one by one and all at once, and it is started twice.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{PROGRAM, TestDatabase, WAIT_TIMEOUT, eventually, free_port};

/// A data directory in the temporary directory, removed at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("valerix-demo-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Demo {
    pub child: Child,
    pub ports: [u16; 3],
    lines: Arc<Mutex<Vec<String>>>,
}

impl Demo {
    pub fn start(data: &Path, ports: [u16; 3], extra: &[&str]) -> Self {
        Self::start_with(data, ports, extra, &[])
    }

    pub fn start_with(data: &Path, ports: [u16; 3], extra: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .arg("demo")
            .arg("--data-dir")
            .arg(data)
            .args(extra)
            .env_remove("DATABASE_URL")
            .env("PAYMENT_SUCCESS_RATE", "1")
            .envs(env.iter().copied());
        for (flag, port) in ["--order-port", "--inventory-port", "--payment-port"]
            .iter()
            .zip(ports)
        {
            command.arg(flag).arg(port.to_string());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let sink = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                sink.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            ports,
            lines,
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub async fn wait_until_running(&self) {
        eventually(
            &format!("the demo to run: {:#?}", self.lines()),
            async || {
                self.lines()
                    .iter()
                    .any(|line| line.contains("Valerix is running"))
                    .then_some(())
            },
        )
        .await;
    }

    pub fn url(&self, role: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[role])
    }

    /// Places an order, and returns the status of the response; `None` if there was none.
    pub async fn place(&self) -> Option<u16> {
        let body = r#"{"product_id":"PROD-001","quantity":1}"#;
        let response = reqwest::Client::new()
            .post(format!("{}/orders", self.url(0)))
            .body(body)
            .send()
            .await;
        Some(response.ok()?.status().as_u16())
    }

    /// The number of stored orders, up to 100.
    async fn orders(&self) -> usize {
        let page = reqwest::get(format!("{}/orders?limit=100", self.url(0)))
            .await
            .unwrap();
        page.json::<serde_json::Value>().await.unwrap()["orders"]
            .as_array()
            .unwrap()
            .len()
    }

    /// Returns the delivered units of each product.
    async fn stocked(&self) -> Vec<i64> {
        let products = self.get(1, "/inventory").await;
        let products = products.as_array().unwrap().iter();
        products
            .map(|product| product["stocked"].as_i64().unwrap())
            .collect()
    }

    async fn has_clean_audit(&self) -> bool {
        self.get(0, "/audit").await["clean"] == true
    }

    async fn get(&self, role: usize, path: &str) -> serde_json::Value {
        let response = reqwest::get(format!("{}{path}", self.url(role))).await;
        response.unwrap().json().await.unwrap()
    }

    /// The process ids of a service so far, the latest last.
    pub fn pids(&self, role: &str) -> Vec<i32> {
        let lines = self.lines();
        let of_role = lines
            .iter()
            .filter(|line| line.trim_start().starts_with(role));
        of_role
            .filter_map(|line| {
                line.split_once("started as process ")?
                    .1
                    .trim()
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// Waits for the nth restart of a service (`times`), and returns its process id.
    pub async fn restarted(&self, role: &str, times: usize) -> i32 {
        let what = format!("{role} to be restarted");
        eventually(&what, async || self.pids(role).get(times).copied()).await
    }

    /// Stops the demo, and checks that it ends with success.
    pub async fn stop(mut self) {
        kill(
            Pid::from_raw(self.child.id().unwrap().try_into().unwrap()),
            Signal::SIGINT,
        )
        .unwrap();
        let status = tokio::time::timeout(WAIT_TIMEOUT, self.child.wait())
            .await
            .expect("the demo stops")
            .unwrap();
        assert_eq!(status.code(), Some(0), "{:#?}", self.lines());
    }

    /// Waits until the demo has failed, and returns the one line that it printed.
    pub async fn failure(mut self) -> String {
        let stderr = self.child.stderr.take().unwrap();
        let status = tokio::time::timeout(WAIT_TIMEOUT, self.child.wait())
            .await
            .expect("the demo ends")
            .unwrap();
        let mut text = BufReader::new(stderr).lines();
        let line = text.next_line().await.unwrap().unwrap_or_default();
        assert_eq!(
            (status.code(), text.next_line().await.unwrap()),
            (Some(1), None),
            "{line}"
        );
        line
    }
}

pub fn ports() -> [u16; 3] {
    [free_port(), free_port(), free_port()]
}

fn server_pid(data: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(data.join("data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_survives_kills_and_keeps_its_data() {
    let data = Directory::new("kills");
    let demo = Demo::start(&data.0, ports(), &["--restart-pause-ms", "100"]);
    demo.wait_until_running().await;
    assert_eq!(demo.stocked().await, [10_000; 3]);
    assert_eq!(demo.place().await, Some(201));
    let delivery = r#"{"quantity":5}"#;
    let path = format!("{}/inventory/PROD-001/deliveries", demo.url(1));
    let delivered = reqwest::Client::new().post(path).body(delivery);
    assert_eq!(delivered.send().await.unwrap().status(), 201);

    for role in ["order", "inventory", "payment"] {
        let before = demo.pids(role);
        kill(Pid::from_raw(*before.last().unwrap()), Signal::SIGKILL).unwrap();
        demo.restarted(role, before.len()).await;
    }
    eventually("orders to be confirmed again", async || {
        (demo.place().await == Some(201)).then_some(())
    })
    .await;
    kill(Pid::from_raw(server_pid(&data.0).unwrap()), Signal::SIGKILL).unwrap();
    eventually(
        "orders to be confirmed on a restarted database",
        async || (demo.place().await == Some(201)).then_some(()),
    )
    .await;

    // When the demo itself is killed, its services end, and its database server keeps running.
    let orders = demo.orders().await;
    let services: Vec<i32> = ["order", "inventory", "payment"]
        .iter()
        .map(|role| *demo.pids(role).last().unwrap())
        .collect();
    let server = server_pid(&data.0).unwrap();
    let Demo {
        mut child, ports, ..
    } = demo;
    child.kill().await.unwrap();
    eventually("the services to end", async || {
        services.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
    .await;
    assert!(is_alive(server));
    let again = Demo::start(&data.0, ports, &[]);
    again.wait_until_running().await;
    assert!(
        again.lines().iter().any(|line| line.contains("took over")),
        "{:#?}",
        again.lines()
    );
    assert_eq!(
        (again.orders().await, server_pid(&data.0)),
        (orders, Some(server))
    );
    let stocked = again.stocked().await;
    assert_eq!(
        stocked,
        [10_005, 10_000, 10_000],
        "only fresh data are stocked"
    );
    again.stop().await;
    assert!(
        !is_alive(server),
        "a clean stop also ends a server that was taken over"
    );
    assert_eq!(server_pid(&data.0), None);

    let fresh = Demo::start(&data.0, ports, &["--reset"]);
    fresh.wait_until_running().await;
    assert_eq!(fresh.orders().await, 0);
    assert_eq!(fresh.stocked().await, [10_000; 3]);
    assert!(fresh.has_clean_audit().await);
    fresh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_postgresql_version_are_not_touched() {
    let data = Directory::new("version");
    std::fs::create_dir_all(data.0.join("data")).unwrap();
    std::fs::write(data.0.join("data/PG_VERSION"), "9\n").unwrap();
    let line = Demo::start(&data.0, ports(), &[]).failure().await;
    assert!(line.contains("belongs to PostgreSQL 9"), "{line}");
    let left: Vec<_> = std::fs::read_dir(data.0.join("data")).unwrap().collect();
    assert_eq!(left.len(), 1, "no file was added or removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_rejects_its_configuration_ends_the_demo_with_its_message() {
    let data = Directory::new("rejected");
    let mut command = Command::new(PROGRAM);
    command
        .arg("demo")
        .arg("--data-dir")
        .arg(&data.0)
        .env_remove("DATABASE_URL")
        .env("PAYMENT_SUCCESS_RATE", "2");
    for (flag, port) in ["--order-port", "--inventory-port", "--payment-port"]
        .iter()
        .zip(ports())
    {
        command.arg(flag).arg(port.to_string());
    }
    let output = tokio::time::timeout(WAIT_TIMEOUT, command.output())
        .await
        .expect("it ends")
        .unwrap();
    let line = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        line.contains("PAYMENT_SUCCESS_RATE") && line.contains("it takes a number from 0 to 1"),
        "{line}"
    );
    assert_eq!(server_pid(&data.0), None, "the database server was stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_first_start_is_repeated() {
    let data = Directory::new("interrupted");
    std::fs::create_dir_all(data.0.join("data.new/base")).unwrap();
    std::fs::write(data.0.join("data.new/PG_VERSION"), "15\n").unwrap();
    let demo = Demo::start(&data.0, ports(), &[]);
    demo.wait_until_running().await;
    assert_eq!(demo.place().await, Some(201));
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_reads_the_database_url_from_a_file() {
    let (data, database) = (Directory::new("file"), TestDatabase::create().await);
    std::fs::create_dir_all(&data.0).unwrap();
    let path = data.0.join("url");
    std::fs::write(&path, database.url()).unwrap();
    let env = [("DATABASE_URL_FILE", path.to_str().unwrap())];
    let demo = Demo::start_with(&data.0, ports(), &[], &env);
    demo.wait_until_running().await;
    assert_eq!(
        demo.stocked().await,
        [100, 50, 25],
        "only a private database is stocked"
    );
    assert_eq!(demo.place().await, Some(201));
    assert_eq!(database.count("SELECT count(*) FROM orders").await, 1);
    demo.stop().await;
}
