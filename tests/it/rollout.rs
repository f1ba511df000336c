//! Start and stop: services start in any order and all at once, and each process is replaced while
//! customers place orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::forwarder::Forwarder;
use crate::harness::{
    LONG_STEPS, Service, Stack, TestDatabase, WAIT_TIMEOUT, eventually, free_port, stock_of,
};

const ROLES: [&str; 3] = ["order", "inventory", "payment"];
/// All orders in which the three services can start.
const SEQUENCES: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

type Environment = Vec<(&'static str, String)>;

fn environment(database: &TestDatabase, ports: [u16; 3]) -> Environment {
    vec![
        ("DATABASE_URL", database.url()),
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
    ]
}

/// Waits until the service answers at all.
async fn wait_until_live(service: &Service) {
    eventually("the service to answer", async || {
        service
            .try_request(Method::GET, "/livez", &[], None)
            .await
            .ok()
    })
    .await;
}

/// The number of migrations that a service has applied, from its log.
fn applied_migrations(service: &Service) -> Option<u64> {
    service.lines().iter().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "schema is up to date").then(|| line["applied"].as_u64().unwrap())
    })
}

async fn place(order: &Service) -> crate::harness::Response {
    order
        .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
        .await
}

async fn wait_until_all_are_confirmed(database: &TestDatabase, orders: i64) {
    eventually("every order to be confirmed", async || {
        let confirmed = database
            .count("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
            .await;
        (confirmed == orders).then_some(())
    })
    .await;
}

/// Starts the services one after the other, and then creates the database. All three find it empty
/// at the same time.
async fn start_before_the_database(sequence: [usize; 3]) {
    let database = TestDatabase::named();
    let ports = [free_port(), free_port(), free_port()];
    let env = environment(&database, ports);
    let mut services = Vec::new();
    for role in sequence {
        let service = Service::start(ROLES[role], ports[role], &env);
        wait_until_live(&service).await;
        service
            .get("/readyz")
            .await
            .assert_problem(503, "not-ready");
        services.push(service);
    }
    let order = &services[sequence
        .iter()
        .position(|role| ROLES[*role] == "order")
        .unwrap()];
    let rejected = place(order).await;
    rejected.assert_problem(503, "database-unavailable");
    assert!(rejected.header("retry-after").parse::<u32>().is_ok());
    for service in &services {
        eventually("the service to log that it waits", async || {
            service
                .lines()
                .iter()
                .any(|line| line.contains("waiting for the database"))
                .then_some(())
        })
        .await;
    }

    database.create_now().await;
    join_all(services.iter().map(Service::wait_until_ready)).await;
    let response = place(order).await;
    assert_eq!(response.status, 201, "{sequence:?}: {response:?}");
    let migrations = database
        .count("SELECT count(*) FROM __diesel_schema_migrations")
        .await;
    let mut sum = 0;
    for service in &services {
        sum += eventually("the service to check the schema", async || {
            applied_migrations(service)
        })
        .await;
    }
    assert_eq!(
        Ok(sum),
        u64::try_from(migrations),
        "{sequence:?}: each migration was applied once, by one of the services"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn services_start_in_any_order_and_before_their_database() {
    join_all(SEQUENCES.map(start_before_the_database)).await;
}

/// Starts the services one after the other on an existing database. No service waits for another.
async fn start_with_the_database(sequence: [usize; 3]) {
    let database = TestDatabase::create().await;
    let ports = [free_port(), free_port(), free_port()];
    let env = environment(&database, ports);
    let mut services = Vec::new();
    for role in sequence {
        let service = Service::start(ROLES[role], ports[role], &env);
        service.wait_until_ready().await;
        services.push(service);
        let Some(order) = sequence
            .iter()
            .take(services.len())
            .position(|role| ROLES[*role] == "order")
        else {
            continue;
        };
        let (response, complete) = (place(&services[order]).await, services.len() == ROLES.len());
        assert_eq!(
            response.status,
            if complete { 201 } else { 202 },
            "{sequence:?}: {response:?}"
        );
    }
    let orders = database.count("SELECT count(*) FROM orders").await;
    wait_until_all_are_confirmed(&database, orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_accepted_before_inventory_and_payment_are_started() {
    join_all(SEQUENCES.map(start_with_the_database)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_exits_if_the_schema_is_newer_than_its_own() {
    let database = TestDatabase::create().await;
    database
        .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')")
        .await;
    for role in ROLES {
        let env = environment(&database, [free_port(), free_port(), free_port()]);
        let mut service = Service::start(role, free_port(), &env);
        let ended = tokio::time::timeout(WAIT_TIMEOUT, service.process.wait())
            .await
            .expect("the process ends")
            .unwrap();
        assert_eq!(ended.code(), Some(1), "{role}");
        eventually("the service to print the reason", async || {
            let reason =
                |line: &String| line.starts_with("valerix: ") && line.contains("99990101000000");
            service.lines().iter().any(reason).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_loses_its_connection_while_it_checks_the_schema_tries_again() {
    let database = TestDatabase::create().await;
    let (locker, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    locker
        .batch_execute("BEGIN; LOCK TABLE __diesel_schema_migrations")
        .await
        .unwrap();
    let mut service = Service::start("payment", free_port(), &[("DATABASE_URL", database.url())]);
    let end_waiting_session = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the service to wait for the lock", async || {
        (database.count(end_waiting_session).await > 0).then_some(())
    })
    .await;
    eventually("the service to wait for the database", async || {
        service
            .lines()
            .iter()
            .any(|line| line.contains("waiting for the database"))
            .then_some(())
    })
    .await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    eventually("the service to check the schema", async || {
        applied_migrations(&service)
    })
    .await;
    assert!(!service.has_ended(), "{:#?}", service.lines());
}

/// Customers that place orders without a pause, each with its own key, until `stop`.
struct Customers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    running: JoinSet<Tally>,
}

/// The responses that customers got.
#[derive(Debug, Default)]
struct Tally {
    confirmed: u32,
    pending: u32,
    /// Requests that were sent again, because the connection ended before a response.
    retried: u32,
    unexpected: Vec<String>,
}

impl Customers {
    const NUMBER: u32 = 4;

    fn start(url: &str) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let mut running = JoinSet::new();
        for customer in 0..Self::NUMBER {
            running.spawn(place_orders(
                format!("{url}/orders"),
                customer,
                Arc::clone(&stop),
                Arc::clone(&answered),
            ));
        }
        Self {
            stop,
            answered,
            running,
        }
    }

    /// Waits until `orders` more orders were answered.
    async fn wait_for_responses(&self, orders: u32) {
        let wanted = self.answered.load(Ordering::Relaxed) + orders;
        eventually("more orders to be answered", async || {
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// Stops all customers, and returns the sum of their responses.
    async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for tally in self.running.join_all().await {
            all.confirmed += tally.confirmed;
            all.pending += tally.pending;
            all.retried += tally.retried;
            all.unexpected.extend(tally.unexpected);
        }
        all
    }
}

async fn place_orders(
    url: String,
    customer: u32,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
) -> Tally {
    let http = Client::builder()
        .no_proxy()
        .timeout(WAIT_TIMEOUT)
        .build()
        .unwrap();
    let mut tally = Tally::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let send = || {
            let request = http
                .post(&url)
                .header("idempotency-key", format!("{customer}-{number}"));
            request
                .body(r#"{"product_id":"PROD-001","quantity":1}"#)
                .send()
        };
        let mut response = send().await;
        // One retry: a second broken connection would be a defect.
        if response.is_err() {
            tally.retried += 1;
            response = send().await;
        }
        match response {
            Ok(response) if response.status() == 201 => tally.confirmed += 1,
            Ok(response) if response.status() == 202 => tally.pending += 1,
            Ok(response) => tally.unexpected.push(format!(
                "{}: {:?}",
                response.status(),
                response.text().await
            )),
            Err(error) => tally.unexpected.push(format!("{error:?}")),
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

/// Starts a second process of a service, directs new connections to it, and stops the first one.
async fn replace(old: &mut Service, role: &str, forwarder: &Forwarder, env: &Environment) {
    let port = free_port();
    let new = Service::start(role, port, env);
    new.wait_until_ready().await;
    forwarder.forward_to(port);
    let mut old = std::mem::replace(old, new);
    old.process.signal(Signal::SIGTERM);
    let ended = tokio::time::timeout(WAIT_TIMEOUT, old.process.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(ended.code(), Some(0), "{role}: {:#?}", old.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_customer_notices_that_the_process_of_each_service_is_replaced() {
    const ROUNDS: u32 = 2;
    let database = TestDatabase::create().await;
    database.execute(&stock_of(1_000_000)).await;
    let ports = [free_port(), free_port(), free_port()];
    let mut env = environment(&database, ports);
    let forwarders = [
        Forwarder::to(ports[0]).await,
        Forwarder::to(ports[1]).await,
        Forwarder::to(ports[2]).await,
    ];
    env.extend([
        ("INVENTORY_SERVICE_URL", forwarders[1].url.clone()),
        ("PAYMENT_SERVICE_URL", forwarders[2].url.clone()),
    ]);
    let mut services = [0, 1, 2].map(|role| Service::start(ROLES[role], ports[role], &env));
    join_all(services.iter().map(Service::wait_until_ready)).await;

    let customers = Customers::start(&forwarders[0].url);
    customers.wait_for_responses(50).await;
    for _ in 0..ROUNDS {
        for (role, service) in services.iter_mut().enumerate() {
            replace(service, ROLES[role], &forwarders[role], &env).await;
            customers.wait_for_responses(50).await;
        }
    }
    let tally = customers.stop().await;
    println!(
        "{} confirmed, {} pending, {} retried",
        tally.confirmed, tally.pending, tally.retried
    );
    assert!(tally.unexpected.is_empty(), "{tally:#?}");
    // Each customer has one connection. An order service that stops may close it while the next
    // order is being sent.
    assert!(tally.retried <= ROUNDS * Customers::NUMBER, "{tally:?}");
    // Connections between the services can be closed in the same way. Recovery finishes an order
    // whose response was lost there.
    assert!(tally.pending <= 2 * ROUNDS * Customers::NUMBER, "{tally:?}");
    wait_until_all_are_confirmed(&database, (tally.confirmed + tally.pending).into()).await;
    let audit = services[0].get("/audit").await.json();
    assert_eq!(audit["clean"], true, "{audit}");
}

/// Reads the head of a response, and the part of its body that arrives with it. Lower case.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_buf(&mut text))
            .await
            .expect("a response")
            .unwrap();
        assert_ne!(
            read,
            0,
            "the connection was closed after {:?}",
            String::from_utf8_lossy(&text)
        );
    }
    String::from_utf8(text).unwrap().to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_refuses_new_connections_and_closes_open_ones_after_their_response() {
    let mut stack = Stack::with(&[LONG_STEPS]).await;
    stack.inventory.set_latency(true, 1500).await;
    let address = stack.order.url.strip_prefix("http://").unwrap().to_owned();
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(!read_head(&mut idle).await.contains("connection: close"));
    let mut busy = TcpStream::connect(&address).await.unwrap();
    let body = r#"{"product_id":"PROD-001","quantity":1}"#;
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    busy.write_all(request.as_bytes()).await.unwrap();
    eventually("the order to be in progress", async || {
        (stack.database.count("SELECT count(*) FROM orders").await == 1).then_some(())
    })
    .await;

    let stopped = Instant::now();
    stack.order.process.signal(Signal::SIGTERM);
    eventually("new connections to be refused", async || {
        TcpStream::connect(&address).await.err()
    })
    .await;
    let refused = stopped.elapsed();
    let response = read_head(&mut busy).await;
    let answered = stopped.elapsed();
    assert!(
        response.starts_with("http/1.1 201") && response.contains("connection: close"),
        "{response}"
    );
    assert!(
        refused < answered,
        "connections were refused after {refused:?}, the last response came after {answered:?}"
    );
    for (name, mut connection) in [("idle", idle), ("busy", busy)] {
        let end = tokio::time::timeout(WAIT_TIMEOUT, connection.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "the {name} connection stays open");
    }
    let ended = tokio::time::timeout(WAIT_TIMEOUT, stack.order.process.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(
        stopped.elapsed() < Duration::from_secs(6),
        "{:?}",
        stopped.elapsed()
    );
}
