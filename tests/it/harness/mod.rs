//! The parts that tests share: services, databases, event streams, proxies and a browser.

pub mod browser;
pub mod command;
pub mod database;
pub mod dedicated_postgres;
pub mod events;
pub mod faulty_service;
pub mod forwarder;
pub mod haproxy;
pub mod old_orders;
mod operator;
pub mod python_script;
pub mod violations;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use valerix::audit::Audit;
use valerix::testbed::free_ports::free_ports_in;
use valerix::testbed::process::{Output, Process, ProcessSpec};

pub use command::Run;
pub use database::{TestDatabase, stock_of};

/// How long a test waits for a condition before it fails. A loaded machine is fast enough for it;
/// a test that passes never waits that long.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of a saga step for tests in which no call may time out: on a loaded machine, a call
/// can take longer than the default of 2 s.
pub const LONG_STEPS: (&str, &str) = ("DOWNSTREAM_TIMEOUT_MS", "10000");

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_valerix");

/// The ports of the services that tests start. The range lies below the ports that the system
/// assigns by itself, and above those that the program chooses for the services that it starts.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// Returns a free port. No other call in this process returns it.
pub fn free_port() -> u16 {
    let [port] = free_ports_in(PORTS).unwrap();
    port
}

/// Waits until the condition returns a value. `what` names it in the message of a failure.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            started.elapsed() < WAIT_TIMEOUT,
            "waited {WAIT_TIMEOUT:?} for {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A response with its whole body.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub took: Duration,
}

impl Response {
    async fn read(response: reqwest::Response, since: Instant) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.unwrap(),
            took: since.elapsed(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_str()
            .unwrap()
    }

    /// Checks that this is a problem document with this status and code, and returns it.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!(
            (self.status.as_u16(), body["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["trace_id"], self.header("x-trace-id"), "{self:?}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(body[member].is_string(), "no {member}: {body}");
        }
        body
    }
}

/// One running service.
pub struct Service {
    pub url: String,
    pub process: Process,
    role: String,
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

impl Service {
    /// Starts a service. It sees only the variables in `env`, not those of the test process.
    pub fn start(role: &str, port: u16, env: &[(&str, String)]) -> Self {
        Self::start_with(role, port, env, &[])
    }

    /// Starts a service with command-line flags.
    pub fn start_with(role: &str, port: u16, env: &[(&str, String)], flags: &[&str]) -> Self {
        let lines = Arc::default();
        let mut spec = spec(role, port, env, &lines);
        spec.arguments.extend(flags.iter().map(ToString::to_string));
        Self::of(&spec, role, port, lines)
    }

    /// Starts a service that sees another file as `/etc/hosts`. Only root can do that.
    pub fn start_with_hosts(role: &str, port: u16, env: &[(&str, String)], hosts: &Path) -> Self {
        let lines = Arc::default();
        let mut spec = spec(role, port, env, &lines);
        let script = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let hosts = hosts.to_str().unwrap();
        let arguments = ["--mount", "sh", "-c", script, hosts, PROGRAM, role];
        spec.program = "unshare".into();
        spec.arguments = arguments.map(ToOwned::to_owned).to_vec();
        Self::of(&spec, role, port, lines)
    }

    fn of(spec: &ProcessSpec, role: &str, port: u16, lines: Arc<Mutex<Vec<String>>>) -> Self {
        let process = Process::start(spec).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(WAIT_TIMEOUT)
            .build()
            .unwrap();
        Self {
            url: format!("http://127.0.0.1:{port}"),
            process,
            role: role.to_owned(),
            port,
            lines,
            http,
        }
    }

    /// Kills the process if it still runs, and starts the service again at the same address.
    pub async fn restart(&mut self, env: &[(&str, String)], extra: &[(&str, &str)]) {
        self.process.kill().await.unwrap();
        let mut env = env.to_vec();
        env.extend(
            extra
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        self.process = Process::start(&spec(&self.role, self.port, &env, &self.lines)).unwrap();
        self.wait_until_ready().await;
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended().unwrap()
    }

    pub async fn wait_until_ready(&self) {
        eventually(
            &format!("{} to be ready: {:#?}", self.url, self.lines()),
            async || {
                let response = self
                    .http
                    .get(format!("{}/readyz", self.url))
                    .send()
                    .await
                    .ok()?;
                response.status().is_success().then_some(())
            },
        )
        .await;
    }

    /// The lines of the log so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until a line of the log contains this text, and returns the line. It arrives through a
    /// pipe, often later than the response of the request that it is about.
    pub async fn wait_for_line(&self, text: &str) -> String {
        eventually(&format!("a log line with {text:?}"), async || {
            self.lines().into_iter().find(|line| line.contains(text))
        })
        .await
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        self.try_request(method, path, headers, body).await.unwrap()
    }

    pub async fn try_request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> reqwest::Result<Response> {
        let started = Instant::now();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        Ok(Response::read(request.send().await?, started).await)
    }

    /// The status of the response, without the body: a stream's body never ends.
    pub async fn status(&self, method: Method, path: &str) -> StatusCode {
        self.http
            .request(method, format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
            .status()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path, &[], Some(&body.to_string()))
            .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Response {
        self.request(Method::PUT, path, &[], Some(&body.to_string()))
            .await
    }

    /// The result of `GET /audit`, not older than this call; `None` while the service is down.
    pub async fn audit(&self) -> Option<Audit> {
        let requested = Utc::now();
        loop {
            let response = self
                .try_request(Method::GET, "/audit", &[], None)
                .await
                .ok()?;
            let audit: Audit = serde_json::from_str(&response.text).ok()?;
            if audit.at >= requested {
                return Some(audit);
            }
            // The service caches the result of a long audit for a while.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sum of all series whose line begins with this text; 0 if there are none.
    pub async fn metric(&self, prefix: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let series = text.lines().filter(|line| line.starts_with(prefix));
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Turns the gremlin's latency switch on or off.
    pub async fn set_latency(&self, enabled: bool, delay_ms: u32) {
        let body = serde_json::json!({"enabled": enabled, "delay_ms": delay_ms});
        assert_eq!(self.post("/gremlin/latency", &body).await.status, 200);
    }
}

fn spec(
    role: &str,
    port: u16,
    env: &[(&str, String)],
    lines: &Arc<Mutex<Vec<String>>>,
) -> ProcessSpec {
    let mut environment = vec![
        ("PORT".to_owned(), port.to_string()),
        ("LOG_FORMAT".to_owned(), "json".to_owned()),
        ("DATABASE_POOL_SIZE".to_owned(), "6".to_owned()),
    ];
    environment.extend(
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    let sink = Arc::clone(lines);
    ProcessSpec {
        program: PROGRAM.into(),
        arguments: vec![role.to_owned()],
        environment,
        output: Output::Lines(Arc::new(move |line| {
            sink.lock().unwrap().push(line.to_owned());
        })),
    }
}

/// The three services on one database.
pub struct Stack {
    pub database: TestDatabase,
    pub order: Service,
    pub inventory: Service,
    pub payment: Service,
    pub env: Vec<(&'static str, String)>,
}

impl Stack {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts all three services with these variables. Payments succeed by default. A failpoint
    /// takes effect only in the service that has it.
    pub async fn with(extra: &[(&'static str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        let ports = [free_port(), free_port(), free_port()];
        let mut env = vec![
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
        ];
        env.extend(
            extra
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let stack = Self {
            order: Service::start("order", ports[0], &env),
            inventory: Service::start("inventory", ports[1], &env),
            payment: Service::start("payment", ports[2], &env),
            env,
            database,
        };
        tokio::join!(
            stack.order.wait_until_ready(),
            stack.inventory.wait_until_ready(),
            stack.payment.wait_until_ready()
        );
        stack
    }

    /// Starts another replica of the order service on the same database, without failpoints.
    pub async fn start_order_replica(&self) -> Service {
        let env: Vec<_> = self
            .env
            .iter()
            .filter(|(name, _)| *name != "VALERIX_FAILPOINT")
            .cloned()
            .collect();
        let service = Service::start("order", free_port(), &env);
        service.wait_until_ready().await;
        service
    }

    pub async fn restart_order(&mut self, extra: &[(&'static str, &str)]) {
        self.order.restart(&self.env, extra).await;
    }

    pub async fn restart_inventory(&mut self, extra: &[(&'static str, &str)]) {
        self.inventory.restart(&self.env, extra).await;
    }

    pub async fn restart_payment(&mut self, extra: &[(&'static str, &str)]) {
        self.payment.restart(&self.env, extra).await;
    }

    /// Starts each service whose process has ended, as an orchestrator would.
    pub async fn restart_ended(&mut self) {
        for service in [&mut self.order, &mut self.inventory, &mut self.payment] {
            if service.has_ended() {
                service.restart(&self.env, &[]).await;
            }
        }
    }

    /// The log lines of all services so far.
    pub fn lines(&self) -> Vec<String> {
        [
            self.order.lines(),
            self.inventory.lines(),
            self.payment.lines(),
        ]
        .concat()
    }

    pub async fn place(&self, product_id: &str, quantity: i32) -> Response {
        self.order
            .post(
                "/orders",
                &serde_json::json!({"product_id": product_id, "quantity": quantity}),
            )
            .await
    }

    /// Runs `work`, which places orders, and delays their transaction until one of them waits. The
    /// others join it meanwhile, so that they go through the later steps together.
    pub async fn run_together<T>(&self, work: impl Future<Output = T>) -> T {
        let session = self.database.session().await;
        session
            .batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE")
            .await
            .unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO orders %'";
        let release = async {
            eventually("an order to wait", async || {
                (self.database.count(waiting).await > 0).then_some(())
            })
            .await;
            session.batch_execute("COMMIT").await.unwrap();
        };
        tokio::join!(work, release).0
    }

    /// Waits until every order has ended and owes nothing.
    pub async fn wait_until_settled(&self) {
        eventually("every order to be settled", async || {
            (self.audit().await?.orders.unsettled == 0).then_some(())
        })
        .await;
    }

    /// Waits until every order is settled, and restarts services that end meanwhile. A process may
    /// close its connections some time before it has ended.
    pub async fn restart_until_settled(&mut self, what: &str) {
        let started = Instant::now();
        while self
            .audit()
            .await
            .is_none_or(|audit| audit.orders.unsettled > 0)
        {
            assert!(started.elapsed() < WAIT_TIMEOUT, "{what}: not settled");
            self.restart_ended().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The result of `GET /audit`; `None` while the order service is down.
    pub async fn audit(&self) -> Option<Audit> {
        self.order.audit().await
    }

    /// Checks that every invariant holds and that each reservation has an order.
    #[track_caller]
    pub fn assert_clean_audit(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let audit = self.audit().await.unwrap();
            assert!(
                audit.clean && audit.orders.reservations_without_order == 0,
                "{caller}: {audit}"
            );
        }
    }

    /// Stores a fulfilled and paid order for each reservation that a test shipped directly at
    /// inventory.
    pub async fn store_orders_of_shipped_reservations(&self) {
        let store = "WITH shipped AS (
                INSERT INTO orders (id, product_id, quantity, status, fulfilled_at)
                SELECT order_id, product_id, quantity, 'CONFIRMED', now() FROM reservations
                WHERE state = 'SHIPPED'
                ON CONFLICT DO NOTHING RETURNING id)
            INSERT INTO payments (order_id, status) SELECT id, 'SUCCESS' FROM shipped";
        self.database.execute(store).await;
    }

    /// The units of a product that are in stock and that are reserved.
    pub async fn stock(&self, product_id: &str) -> (i64, i64) {
        let stock = self
            .inventory
            .get(&format!("/inventory/{product_id}"))
            .await
            .json();
        (
            stock["stock"].as_i64().unwrap(),
            stock["reserved"].as_i64().unwrap(),
        )
    }
}
