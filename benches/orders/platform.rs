//! The services on a database of their own, ready to be measured.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use valerix::audit::{self, RemoteDatabases};
use valerix::platform::db::{DatabaseUrl, migrate};
use valerix::testbed::addresses::Addresses;
use valerix::testbed::environment::variables;
use valerix::testbed::readiness::Readiness;
use valerix::testbed::service_kind::ServiceKind;
use valerix::testbed::services::{Services, ServicesConfig, ServicesOutput};

use crate::database::{self, DatabaseWork};
use crate::fallible::Fallible;
use crate::fixture::Fixture;
use crate::pgbench;
use crate::process_usage::Processes;
use crate::run::Run;
use crate::wrk::{Load, Wrk};

/// A start takes tens of milliseconds, so it is polled often.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Longer than any benchmark.
const RECOVERY_BOUND: Duration = Duration::from_secs(24 * 3600);
const WARM_UP_CLIENTS: u32 = 32;
const WARM_UP_PGBENCH_CLIENTS: u32 = 16;
const WARM_UP_PRODUCTS: u32 = 1000;

pub struct Platform<'a> {
    pub fixture: &'a Fixture<'a>,
    services: Services,
    pub database: Client,
}

impl<'a> Platform<'a> {
    /// Creates a database of this name with a schema and stock, and starts the services on it. They
    /// log JSON to files, as they do in a container.
    pub async fn start(fixture: &'a Fixture<'a>, name: &str) -> Fallible<Self> {
        fixture.server.ensure_database(name).await?;
        let url: DatabaseUrl = fixture.server.url(name).parse()?;
        migrate(&url).await?;
        let database = database::connect(url.with_password()).await?;
        database::execute(&database, include_str!("stock.sql")).await?;
        let success_rate = fixture.args.payment_success_rate.to_string();
        let mut services = Services::new(ServicesConfig {
            program: fixture.args.program.clone(),
            addresses: Addresses::on_free_ports()?,
            database_url: url,
            variables: variables([
                ("PAYMENT_SUCCESS_RATE", success_rate),
                ("LOG_FORMAT", "json".to_owned()),
            ]),
            output: ServicesOutput::LogFiles(fixture.home().to_owned()),
            poll_interval: POLL_INTERVAL,
        });
        services.start_all().await?;
        Ok(Self {
            fixture,
            services,
            database,
        })
    }

    pub fn order_url(&self) -> String {
        self.services.url(ServiceKind::Order).to_string()
    }

    /// The processes whose usage is measured.
    pub fn processes(&self) -> Fallible<Processes> {
        let pid = |kind| self.services.pid(kind).ok_or("a service does not run");
        let [order, inventory, payment] = ServiceKind::ALL.map(pid);
        Ok(Processes {
            services: [order?, inventory?, payment?],
            postmaster: self.fixture.server.pid(),
        })
    }

    /// Starts a service again. Returns the time from its start until it was ready.
    pub async fn restart(&mut self, kind: ServiceKind) -> Fallible<Duration> {
        self.services.stop(kind).await?;
        let started = Instant::now();
        self.services.launch(kind, &[])?;
        match self.services.wait_until_ready(kind).await? {
            Readiness::Ready => Ok(started.elapsed()),
            _ => Err(format!("the {kind} service ended while it started").into()),
        }
    }

    /// Places orders for the length of a run.
    pub async fn place_orders(&self, clients: u32, products: Option<u32>) -> Fallible<Run> {
        self.run(&Load {
            clients,
            products,
            seconds: self.fixture.args.seconds,
            pause_ms: 0,
        })
        .await
    }

    /// Places orders, and waits until all of them are settled.
    ///
    /// # Errors
    /// When no order was confirmed, besides others.
    pub async fn run(&self, load: &Load) -> Fallible<Run> {
        let confirmed_before = database::count_confirmed(&self.database).await?;
        let work_before = DatabaseWork::read(&self.database).await?;
        let placing = async { Wrk::start(&self.order_url(), load)?.finish().await };
        let (measured, usage) = self.processes()?.measure(placing).await?;
        database::wait_until_settled(&self.database).await?;
        let orders = database::count_confirmed(&self.database).await? - confirmed_before;
        let work = DatabaseWork::read(&self.database).await?.since(work_before);
        self.empty_logs()?;
        if orders == 0 {
            return Err(format!(
                "the run confirmed no order: {} of {} requests were refused, {} broke",
                measured.refused, measured.requests, measured.broken
            )
            .into());
        }
        Ok(Run {
            orders,
            per_second: f64::from(orders) / measured.seconds,
            latency: Some(measured.latency()),
            failed: measured.failed(),
            usage,
            work: Some(work),
        })
    }

    /// Makes room on the disk. The services append to their files.
    fn empty_logs(&self) -> io::Result<()> {
        ServiceKind::ALL.into_iter().try_for_each(|kind| {
            let path = self.fixture.home().join(format!("{kind}.log"));
            File::options().write(true).open(path)?.set_len(0)
        })
    }

    /// Runs the same statements in SQL alone, for the length of a run.
    pub async fn pgbench(&self, clients: u32, products: u32) -> Fallible<Run> {
        let seconds = self.fixture.args.seconds;
        self.pgbench_for(seconds, clients, products).await
    }

    async fn pgbench_for(&self, seconds: u32, clients: u32, products: u32) -> Fallible<Run> {
        let load = pgbench::Load {
            clients,
            products,
            seconds,
            log_latencies: clients == 1,
        };
        let pgbench = pgbench::run(self.fixture, &load);
        let (measured, usage) = self.processes()?.measure(pgbench).await?;
        Ok(Run {
            orders: measured.orders,
            per_second: measured.per_second,
            latency: measured.latency,
            failed: 0,
            usage,
            work: None,
        })
    }

    /// Opens connections, prepares statements and fills caches, for the services and for pgbench.
    pub async fn warm_up(&self) -> Fallible<()> {
        let seconds = self.fixture.args.warm_up_seconds;
        self.run(&Load {
            clients: WARM_UP_CLIENTS,
            products: Some(WARM_UP_PRODUCTS),
            seconds,
            pause_ms: 0,
        })
        .await?;
        self.pgbench_for(seconds, WARM_UP_PGBENCH_CLIENTS, WARM_UP_PRODUCTS)
            .await?;
        Ok(())
    }

    /// Stops the services, and checks the invariants.
    ///
    /// # Errors
    /// When an invariant is violated, besides others.
    pub async fn stop(mut self) -> Fallible<()> {
        self.services.stop_all().await?;
        if let Some(statements) = &self.fixture.args.tamper {
            database::execute(&self.database, statements).await?;
        }
        let url = self.services.database_url();
        let audit = audit::run(url, RECOVERY_BOUND, &RemoteDatabases::default()).await?;
        if audit.clean {
            let (total, confirmed) = (audit.orders.total, audit.orders.confirmed);
            eprintln!("  all invariants hold: {total} orders, {confirmed} confirmed");
            return Ok(());
        }
        let violated = audit
            .invariants
            .iter()
            .filter(|invariant| invariant.violations > 0);
        let lines = violated.map(|invariant| {
            let (name, violations) = (&invariant.name, invariant.violations);
            format!("\n  ✗ {name}: {violations} ({})", invariant.meaning)
        });
        Err(format!("invariants are violated:{}", lines.collect::<String>()).into())
    }
}
