//! The campaign's processes: three roles and a database of its own, and what is done to them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio_postgres::Client;

use super::check::{Books, OrderFact};
use super::plan::{Fault, Role};
use super::sessions::{self, DatabaseFaults};
use super::{ProveError, STEP_TIMEOUT};
use crate::gremlin::Handle;
use crate::platform::client::{BaseUrl, Client as HttpClient};
use crate::platform::db::{DatabaseUrl, migrate};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::Latency;
use crate::platform::observability::trace_context;
use crate::testbed::postgres::{Home, Server};
use crate::testbed::scratch_dir::ScratchDir;
use crate::testbed::supervisor::{Process, Spec};

const DATABASE: &str = "valerix";
const READY_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);
/// Between two looks for roles that died.
const REVIVE_INTERVAL: Duration = Duration::from_millis(500);
const LINES_KEPT: usize = 20;
/// In the log line of each request that a service fails by itself, which injected errors are not.
const MISTAKE: &str = "internal-error";
const MISTAKES_KEPT: usize = 10;
/// A rule of the gremlin that finds nothing to hit ends after this long.
const RULE_SECONDS: u32 = 4;

pub struct Cluster {
    server: Server,
    /// Removed with everything in it at the end; absent where the data are to be kept.
    scratch: Option<ScratchDir>,
    roles: BTreeMap<Role, Running>,
    url: DatabaseUrl,
    database_faults: DatabaseFaults,
    seed: u64,
    struck: Arc<Mutex<Struck>>,
}

struct Running {
    port: u16,
    /// Absent between a kill and the next start.
    process: Option<Process>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// Starts the database server. From here on [`Cluster::end`] must follow, whatever happens. The
    /// seed is the payment gateway's.
    pub async fn open(seed: u64, data_dir: Option<&Path>) -> Result<Self, ProveError> {
        let (home, scratch) = if let Some(directory) = data_dir {
            (Home::open(directory)?, None)
        } else {
            let scratch = ScratchDir::create("prove")?;
            (Home::open(scratch.path())?, Some(scratch))
        };
        home.reset().await?;
        let ports = free_ports(Role::ALL.len())?;
        let server = Server::start(home, vec!["max_connections=100".to_owned()]).await?;
        let url: DatabaseUrl = server
            .url(DATABASE)
            .parse()
            .map_err(std::io::Error::other)?;
        let mut roles = BTreeMap::new();
        for (role, port) in Role::ALL.into_iter().zip(ports) {
            roles.insert(
                role,
                Running {
                    port,
                    process: None,
                    lines: Arc::default(),
                },
            );
        }
        let struck = Arc::default();
        let database_faults = DatabaseFaults::new(url.clone());
        Ok(Self {
            server,
            scratch,
            roles,
            url,
            database_faults,
            seed,
            struck,
        })
    }

    /// Starts the roles on a database with these products in stock.
    pub async fn start(&mut self, products: &[(String, i32)]) -> Result<(), ProveError> {
        self.server.ensure_database(DATABASE).await?;
        migrate(&self.url).await?;
        self.stock(products).await?;
        for role in Role::ALL {
            self.launch(role, None)?;
        }
        for role in Role::ALL {
            self.ready(role).await?;
            // Nothing is broken yet: a campaign without one of them would prove nothing.
            if self.has_ended(role)? {
                return Err(self.not_ready(role));
            }
        }
        Ok(())
    }

    async fn stock(&self, products: &[(String, i32)]) -> Result<(), ProveError> {
        let client = self.connect().await?;
        client.execute("DELETE FROM inventory", &[]).await?;
        for (product_id, stock) in products {
            client
                .execute(
                    "INSERT INTO inventory (product_id, stock) VALUES ($1, $2)",
                    &[product_id, stock],
                )
                .await?;
        }
        Ok(())
    }

    fn launch(&mut self, role: Role, crash_point: Option<String>) -> Result<(), ProveError> {
        let at = |role: Role| format!("http://127.0.0.1:{}", self.roles[&role].port);
        let mut environment: Vec<(String, String)> = [
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", self.roles[&role].port.to_string()),
            // Each by its name, so that the server knows whose a session is.
            ("DATABASE_URL", self.url.with_password_for(role.as_str())),
            ("INVENTORY_SERVICE_URL", at(Role::Inventory)),
            ("PAYMENT_SERVICE_URL", at(Role::Payment)),
            (
                "DOWNSTREAM_TIMEOUT_MS",
                STEP_TIMEOUT.as_millis().to_string(),
            ),
            ("PAYMENT_SEED", self.seed.to_string()),
            ("LOG_FORMAT", "json".to_owned()),
            ("RUST_LOG", "warn".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        environment.extend(crash_point.map(|plan| ("VALERIX_FAILPOINT".to_owned(), plan)));
        let (lines, struck) = (
            Arc::clone(&self.roles[&role].lines),
            Arc::clone(&self.struck),
        );
        let output = Arc::new(move |line: &str| note(line, &lines, &struck));
        let spec = Spec {
            program: std::env::current_exe()?,
            arguments: vec![role.as_str().to_owned()],
            environment,
            output,
        };
        let process = Process::start(&spec)?;
        if let Some(running) = self.roles.get_mut(&role) {
            running.process = Some(process);
        }
        Ok(())
    }

    /// Waits until the role can serve, or has died at a crash point on the way.
    async fn ready(&mut self, role: Role) -> Result<(), ProveError> {
        let started = Instant::now();
        let client = self.http(role)?;
        loop {
            let answer = client.get("/readyz", Deadline::after(CALL_LIMIT)).await;
            if answer.is_ok_and(|answer| answer.status.is_success()) || self.has_ended(role)? {
                return Ok(());
            }
            if started.elapsed() > READY_LIMIT {
                return Err(self.not_ready(role));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn not_ready(&self, role: Role) -> ProveError {
        let lines = self.roles[&role]
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n");
        ProveError::NotReady(role.as_str(), lines)
    }

    pub fn url_of(&self, role: Role) -> Result<BaseUrl, ProveError> {
        let url = format!("http://127.0.0.1:{}", self.roles[&role].port);
        Ok(url.parse().map_err(std::io::Error::other)?)
    }

    fn http(&self, role: Role) -> Result<HttpClient, ProveError> {
        Ok(HttpClient::new(self.url_of(role)?))
    }

    /// Of the role's process at the moment.
    pub fn pid(&self, role: Role) -> Option<i32> {
        self.roles[&role].process.as_ref().map(Process::pid)
    }

    pub fn order_url(&self) -> String {
        format!("http://127.0.0.1:{}/orders", self.roles[&Role::Order].port)
    }

    pub fn database_url(&self) -> DatabaseUrl {
        self.url.clone()
    }

    /// Injects a fault, and returns when the services are up again. Locks and waits for a standby
    /// go on.
    ///
    /// Returns whether the fault happened: a lock may not have been held.
    pub async fn inflict(&mut self, fault: &Fault) -> Result<bool, ProveError> {
        self.revive().await?;
        match fault {
            Fault::Kill(role) => self.replace(*role, None).await?,
            Fault::Crash {
                role,
                point,
                turn,
                stall,
            } => {
                let action = stall.map_or_else(
                    || "abort".to_owned(),
                    |stall| format!("stall:{}", stall.as_millis()),
                );
                self.replace(*role, Some(format!("{point}={action}@{turn}")))
                    .await?;
            }
            Fault::Stop(role, lasting) => {
                self.signal(*role, Signal::SIGSTOP);
                tokio::time::sleep(*lasting).await;
                self.signal(*role, Signal::SIGCONT);
            }
            Fault::Latency {
                role,
                delay,
                lasting,
            } => {
                self.latency(*role, Some(*delay)).await;
                tokio::time::sleep(*lasting).await;
                self.latency(*role, None).await;
            }
            Fault::Gremlin {
                role,
                kind,
                direction,
                every,
                max_fires,
            } => {
                let wish = json!({
                    "kind": kind, "direction": direction, "every": every, "max_fires": max_fires,
                    "ttl_seconds": RULE_SECONDS,
                });
                if let Err(error) = Handle::new(&self.url_of(*role)?, None).add(&wish).await {
                    tracing::debug!(%error, "the gremlin was not reached");
                }
            }
            Fault::DatabaseRestart => {
                self.server.stop().await;
                self.server.restart().await?;
            }
            Fault::DatabaseKill => {
                self.server.kill().await;
                self.server.restart().await?;
            }
            Fault::LockProduct {
                product_id,
                lasting,
            } => {
                return self
                    .database_faults
                    .lock_product(product_id, *lasting)
                    .await;
            }
            Fault::LockOrders { lock, lasting } => {
                return self.database_faults.lock_orders(*lock, *lasting).await;
            }
            Fault::StandbyWait(lasting) => {
                return self.database_faults.delay_commits(*lasting).await;
            }
            Fault::EndSessions(role) => return self.database_faults.end_sessions(*role).await,
        }
        Ok(true)
    }

    async fn replace(&mut self, role: Role, crash_point: Option<String>) -> Result<(), ProveError> {
        if let Some(mut process) = self
            .roles
            .get_mut(&role)
            .and_then(|running| running.process.take())
        {
            process.kill().await?;
        }
        self.launch(role, crash_point)?;
        self.ready(role).await
    }

    /// Waits for a future. A role that dies meanwhile is started again, as an orchestrator would do
    /// it; otherwise most of the requests would find no service, and prove nothing.
    pub async fn run_until<T>(&mut self, done: impl Future<Output = T>) -> Result<T, ProveError> {
        let mut done = std::pin::pin!(done);
        loop {
            match tokio::time::timeout(REVIVE_INTERVAL, &mut done).await {
                Ok(value) => return Ok(value),
                Err(_) => self.revive().await?,
            }
        }
    }

    /// Starts again what has died at a crash point.
    async fn revive(&mut self) -> Result<(), ProveError> {
        for role in Role::ALL {
            if self.has_ended(role)? {
                self.replace(role, None).await?;
            }
        }
        Ok(())
    }

    fn has_ended(&mut self, role: Role) -> Result<bool, ProveError> {
        let process = self
            .roles
            .get_mut(&role)
            .and_then(|running| running.process.as_mut());
        Ok(process.map(Process::has_ended).transpose()?.unwrap_or(true))
    }

    fn signal(&self, role: Role, signal: Signal) {
        if let Some(process) = &self.roles[&role].process {
            process.signal(signal);
        }
    }

    /// A role that died at a crash point meanwhile has no latency to switch.
    async fn latency(&self, role: Role, delay: Option<Duration>) {
        let delay_ms = delay
            .and_then(|delay| u32::try_from(delay.as_millis()).ok())
            .unwrap_or_default();
        let body = Latency {
            enabled: delay.is_some(),
            delay_ms,
        };
        if let Ok(client) = self.http(role)
            && let Err(error) = client
                .post("/gremlin/latency", &body, Deadline::after(CALL_LIMIT))
                .await
        {
            tracing::debug!(%error, "the gremlin was not reached");
        }
    }

    /// Ends all faults: no lock, no wait, and every role fresh, with nothing armed or slowed.
    pub async fn heal(&mut self) -> Result<(), ProveError> {
        self.database_faults.undo().await?;
        let session = self.connect().await?;
        let now = session
            .query_one("SELECT now()::text", &[])
            .await?
            .get::<_, String>(0);
        for role in Role::ALL {
            self.replace(role, None).await?;
        }
        // What a killed process was in the middle of may still be committed by its session.
        let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = ANY ($1) AND backend_start < $2::text::timestamptz";
        let roles = Role::ALL.map(Role::as_str);
        while session.execute(sessions, &[&&roles[..], &now]).await? > 0 {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until nothing is unsettled; returns what still is when the time is up.
    pub async fn quiet(&self, limit: Duration) -> Result<i64, ProveError> {
        let client = self.connect().await?;
        let statement = "SELECT count(*) FROM orders
            WHERE status NOT IN ('CONFIRMED', 'FAILED') OR release_owed_epoch IS NOT NULL OR refund_owed";
        let started = Instant::now();
        loop {
            let unsettled: i64 = client.query_one(statement, &[]).await?.get(0);
            if unsettled == 0 || started.elapsed() > limit {
                return Ok(unsettled);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn execute(&self, statements: &str) -> Result<(), ProveError> {
        Ok(self.connect().await?.batch_execute(statements).await?)
    }

    pub async fn books(&self) -> Result<Books, ProveError> {
        let client = self.connect().await?;
        let orders =
            "SELECT id, status, failure_reason, idempotency_key, product_id, quantity, traceparent
            FROM orders";
        let orders = client.query(orders, &[]).await?;
        let orders = orders.iter().map(|row| {
            let traceparent: Option<&str> = row.get(6);
            let fact = OrderFact {
                status: row.get(1),
                failure_reason: row.get(2),
                key: row.get(3),
                product_id: row.get(4),
                quantity: row.get(5),
                trace_id: traceparent.and_then(trace_context::trace_id_of),
            };
            (row.get(0), fact)
        });
        let payments = client
            .query(
                "SELECT order_id, count(*) FROM payments WHERE status = 'SUCCESS' GROUP BY 1",
                &[],
            )
            .await?;
        let held = "SELECT order_id, product_id, quantity FROM reservations WHERE state = 'HELD'";
        let stocked = client
            .query("SELECT product_id, stocked FROM inventory", &[])
            .await?;
        Ok(Books {
            orders: orders.collect(),
            charges: payments
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect(),
            held: client
                .query(held, &[])
                .await?
                .iter()
                .map(|row| (row.get(0), (row.get(1), row.get(2))))
                .collect(),
            stocked: stocked.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }

    /// How often each way of finishing an order late was taken.
    pub async fn paths(&self) -> Result<BTreeMap<String, i64>, ProveError> {
        let client = self.connect().await?;
        let mut paths = BTreeMap::new();
        for (name, condition) in PATHS {
            let statement = format!("SELECT count(*) FROM order_events e WHERE {condition}");
            paths.insert(
                (*name).to_owned(),
                client.query_one(&statement, &[]).await?.get(0),
            );
        }
        Ok(paths)
    }

    pub fn struck(&self) -> Struck {
        self.struck
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub async fn connect(&self) -> Result<Client, ProveError> {
        Ok(sessions::connect(&self.url).await?)
    }

    /// Ends every process, and removes what is not to be kept.
    pub async fn end(mut self) -> Result<(), ProveError> {
        if self.scratch.is_none() {
            // A campaign that failed may have left its setting; commits in the database that is
            // kept would wait for ever.
            let _ = self.database_faults.undo().await;
        }
        let running = self
            .roles
            .values_mut()
            .filter_map(|running| running.process.as_mut());
        let stopped = join_all(running.map(Process::stop)).await;
        self.server.stop().await;
        drop(self.scratch);
        stopped.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(())
    }
}

/// Each by the event that ends it.
const PATHS: &[(&str, &str)] = &[
    (
        "pending-confirmed",
        "reason = 'confirmed' AND attempt > 1 AND NOT EXISTS (SELECT FROM order_events b WHERE b.order_id = e.order_id
         AND b.reason IN ('inventory-unavailable', 'payment-unavailable'))",
    ),
    (
        "pending-inventory-confirmed",
        "reason = 'confirmed' AND attempt > 1 AND EXISTS (SELECT FROM order_events b WHERE b.order_id = e.order_id
         AND b.status = 'PENDING_INVENTORY')",
    ),
    (
        "pending-payment-confirmed",
        "reason = 'confirmed' AND attempt > 1 AND EXISTS (SELECT FROM order_events b WHERE b.order_id = e.order_id
         AND b.status = 'PENDING_PAYMENT')",
    ),
    ("declined-late", "reason = 'payment-declined' AND attempt > 1"),
    ("out-of-stock-late", "reason = 'insufficient-stock' AND attempt > 1"),
    ("release-drained", "reason = 'stock-returned' AND attempt > 1"),
    ("void-drained", "reason = 'payment-voided'"),
];

/// What came of itself, as the services' logs tell: faults that wait for their moment, and
/// mistakes.
#[derive(Debug, Clone, Default)]
pub struct Struck {
    /// Named places at which a process aborted or stalled.
    pub crash_points: BTreeMap<String, u32>,
    /// The gremlin's rules by kind.
    pub gremlin: BTreeMap<String, u32>,
    /// What services said of their own mistakes: the first of them.
    pub mistakes: Vec<String>,
}

fn note(line: &str, lines: &Mutex<Vec<String>>, struck: &Mutex<Struck>) {
    let event = || serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
    let mut struck = struck.lock().unwrap_or_else(PoisonError::into_inner);
    if line.contains("crash point reached")
        && let Some(point) = event()["point"].as_str()
    {
        *struck.crash_points.entry(point.to_owned()).or_default() += 1;
    } else if line.contains("gremlin fault injected") {
        let event = event();
        // The latency switch is a fault of its own, which needs no such proof.
        if let Some(kind) = event["kind"].as_str().filter(|_| event["rule"] != "switch") {
            *struck.gremlin.entry(kind.to_owned()).or_default() += 1;
        }
    } else if line.contains(MISTAKE) && struck.mistakes.len() < MISTAKES_KEPT {
        struck.mistakes.push(line.to_owned());
    }
    drop(struck);
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines.push(line.to_owned());
    if lines.len() > LINES_KEPT {
        lines.remove(0);
    }
}

/// From a range below the one from which systems give out ports by themselves, so that no
/// connection takes one of them while its role is dead.
fn free_ports(wanted: usize) -> Result<Vec<u16>, ProveError> {
    const PORTS: std::ops::Range<u16> = 10_000..15_000;
    // Campaigns beside each other begin at different places, with some room between them.
    let first = usize::try_from(std::process::id()).unwrap_or_default() * 16 % PORTS.len();
    let candidates = PORTS.cycle().skip(first).take(PORTS.len());
    // All are held until all are found.
    let held: Vec<_> = candidates
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .take(wanted)
        .collect();
    if held.len() < wanted {
        return Err(std::io::Error::other("there are no free ports from 10000 to 14999").into());
    }
    Ok(held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<std::io::Result<_>>()?)
}
