//! One run: a load on the services or on PostgreSQL alone, and what came of it.

use serde::Serialize;
use tokio_postgres::Client;

use crate::Fallible;
use crate::database::Work;
use crate::services::Services;
use crate::stage::Stage;
use crate::watch::{Cost, Watched};
use crate::wrk::Wrk;
use crate::{database, pgbench};

/// What wrk does.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: u32,
    /// Absent: `PROD-001` alone.
    pub products: Option<u32>,
    pub seconds: u32,
    /// Between two orders of one client, on average.
    pub pause_ms: u32,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Confirmed in the database, whatever was answered.
    pub orders: u32,
    pub per_second: f64,
    pub latency: Option<Latency>,
    /// Requests answered with an error status, or not at all.
    pub failed: u32,
    pub cost: Cost,
    /// Only of the platform's own runs.
    pub work: Option<Work>,
}

/// Services under load, and a view of their database.
pub struct Subject<'a> {
    pub stage: &'a Stage<'a>,
    pub services: Services,
    pub books: Client,
}

impl<'a> Subject<'a> {
    /// On a fresh database of this name.
    pub async fn build(stage: &'a Stage<'a>, name: &str) -> Fallible<Self> {
        let services = stage.services(name).await?;
        let books = database::connect(services.url.with_password()).await?;
        Ok(Self {
            stage,
            services,
            books,
        })
    }

    pub fn watched(&self) -> Watched {
        Watched {
            roles: self.services.pids(),
            postmaster: self.stage.server.pid(),
        }
    }

    /// Orders through all services, for the usual time.
    pub async fn orders(&self, clients: u32, products: Option<u32>) -> Fallible<Run> {
        self.run(&Load {
            clients,
            products,
            seconds: self.stage.args.seconds,
            pause_ms: 0,
        })
        .await
    }

    pub async fn run(&self, load: &Load) -> Fallible<Run> {
        let before = database::confirmed(&self.books).await?;
        let done_before = Work::so_far(&self.books).await?;
        let wrk = async { Wrk::start(self.services.address(), load)?.finish().await };
        let (seen, cost) = self.watched().during(wrk).await?;
        database::quiet(&self.books, None).await?;
        let orders = database::confirmed(&self.books).await? - before;
        let database = Some(Work::so_far(&self.books).await?.since(done_before));
        self.services.empty_logs()?;
        if orders == 0 {
            return Err(format!(
                "the run confirmed no order: {} of {} requests were refused, {} broke",
                seen.refused, seen.requests, seen.broken
            )
            .into());
        }
        let per_second = f64::from(orders) / seen.seconds;
        Ok(Run {
            orders,
            per_second,
            latency: Some(seen.latency()),
            failed: seen.refused + seen.broken,
            cost,
            work: database,
        })
    }

    /// The same orders in SQL alone.
    pub async fn pgbench(&self, clients: u32, products: u32) -> Fallible<Run> {
        self.pgbench_for(self.stage.args.seconds, clients, products)
            .await
    }

    async fn pgbench_for(&self, seconds: u32, clients: u32, products: u32) -> Fallible<Run> {
        let load = pgbench::Load {
            clients,
            products,
            latencies: clients == 1,
        };
        let (seen, cost) = self
            .watched()
            .during(pgbench::run(self.stage, &load, seconds))
            .await?;
        let pgbench::Seen {
            orders,
            per_second,
            latency,
        } = seen;
        Ok(Run {
            orders,
            per_second,
            latency,
            failed: 0,
            cost,
            work: None,
        })
    }

    /// Connections open, statements prepared, caches filled, on both sides.
    pub async fn warm_up(&self) -> Fallible<()> {
        let seconds = self.stage.args.warm_up_seconds;
        self.run(&Load {
            clients: 32,
            products: Some(1000),
            seconds,
            pause_ms: 0,
        })
        .await?;
        self.pgbench_for(seconds, 16, 1000).await?;
        Ok(())
    }

    /// Ends the services; an error when their books do not balance.
    pub async fn close(self) -> Fallible<()> {
        self.stage.close(self.services).await
    }
}

impl crate::wrk::Seen {
    pub fn latency(&self) -> Latency {
        let milliseconds = |micros: u32| f64::from(micros) / 1000.0;
        Latency {
            p50: milliseconds(self.p50),
            p90: milliseconds(self.p90),
            p99: milliseconds(self.p99),
            max: milliseconds(self.max),
        }
    }
}
