//! Recovery at scale: how fast unsettled orders are settled, the latency of new orders at
//! the same time, and whether the statement that claims orders uses an index.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;

use crate::database;
use crate::fallible::Fallible;
use crate::fixture::Fixture;
use crate::latency::Latency;
use crate::platform::Platform;
use crate::run::Run;
use crate::stats::to_f64;
use crate::wrk::{Load, Measurement, Wrk};

const PRODUCTS: u32 = 1000;
/// Each client places about one order per second. With many clients, one that waits for its answer
/// does not hold up the others.
const PAUSE_MS: u32 = 1000;
const DRAIN_TIMEOUT_SECONDS: u32 = 3600;
const CLAIM_TIMEOUT: Duration = Duration::from_secs(20);
const CLAIM_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Seconds between two counts of the backlog, for each unsettled order: counting takes longer the
/// more orders there are.
const POLL_SECONDS_PER_ORDER: f64 = 1e-5;

#[derive(Debug, Serialize)]
pub struct Backlog {
    /// The number of unsettled orders when the clock started.
    pub orders: u32,
    /// Until all of them were finished.
    pub seconds: f64,
    pub per_second: f64,
    pub new_orders_per_second: f64,
    /// The latency of new orders without a backlog.
    pub latency_without: Option<Latency>,
    /// The latency of new orders while the backlog was finished.
    pub latency_during: Latency,
    /// The number of new orders that failed while the backlog was finished.
    pub failed: u32,
    /// The plan of the statement that claims orders, line by line.
    pub plan: Vec<String>,
    pub by_index: bool,
}

pub async fn run(fixture: &Fixture<'_>) -> Fallible<Backlog> {
    let platform = Platform::start(fixture, "backlog").await?;
    platform.warm_up().await?;
    let clients = fixture.args.backlog_rate;
    let load = Load {
        clients,
        products: Some(PRODUCTS),
        seconds: fixture.args.seconds,
        pause_ms: PAUSE_MS,
    };
    eprintln!("without a backlog: {clients} new orders per second");
    let Run {
        latency: latency_without,
        ..
    } = platform.run(&load).await?;

    let orders = fixture.args.backlog_orders;
    eprintln!("with a backlog of {orders} orders");
    let fill = include_str!("backlog.sql").replace("$ROWS", &orders.to_string());
    database::execute(&platform.database, &fill).await?;
    let started = Instant::now();
    let orders = database::count_unsettled(&platform.database).await?;
    let load = Load {
        seconds: DRAIN_TIMEOUT_SECONDS,
        ..load
    };
    let wrk = Wrk::start(&platform.order_url(), &load)?;
    let plan = claim_plan(&platform.database).await?;
    let seconds = wait_until_drained(&platform.database, started).await?;
    wrk.stop()?;
    let measured = wrk.finish().await?;
    database::wait_until_settled(&platform.database).await?;
    platform.stop().await?;
    eprintln!("  {orders} were unsettled when the clock started, and none after {seconds:.1} s");
    Ok(report(orders, seconds, latency_without, &measured, plan))
}

fn report(
    orders: u32,
    seconds: f64,
    latency_without: Option<Latency>,
    measured: &Measurement,
    plan: Vec<String>,
) -> Backlog {
    let contains = |word: &str| plan.iter().any(|line| line.contains(word));
    Backlog {
        orders,
        seconds,
        per_second: f64::from(orders) / seconds,
        new_orders_per_second: f64::from(measured.requests) / measured.seconds,
        latency_without,
        latency_during: measured.latency(),
        failed: measured.failed(),
        by_index: contains("Index") && !contains("Seq Scan"),
        plan,
    }
}

/// Waits until the backlog is finished. New orders are `PENDING` for a moment, and do not count.
async fn wait_until_drained(database: &Client, since: Instant) -> Fallible<f64> {
    let statement = "SELECT count(*) FROM unsettled_orders WHERE status <> 'PENDING'";
    let timeout = Duration::from_secs(DRAIN_TIMEOUT_SECONDS.into());
    loop {
        let unsettled: i64 = database.query_one(statement, &[]).await?.get(0);
        if unsettled == 0 {
            return Ok(since.elapsed().as_secs_f64());
        }
        if since.elapsed() > timeout {
            return Err(format!("{unsettled} orders of the backlog are still unsettled").into());
        }
        let pause = to_f64(unsettled.unsigned_abs()) * POLL_SECONDS_PER_ORDER;
        tokio::time::sleep(Duration::from_secs_f64(pause.clamp(0.01, 1.0))).await;
    }
}

/// Finds the statement among those that run on the server, and returns its plan.
async fn claim_plan(database: &Client) -> Fallible<Vec<String>> {
    let Some(claim) = running_claim(database).await? else {
        return Ok(vec!["the claim was not seen on the server".to_owned()]);
    };
    let prepare = format!("PREPARE claim AS {claim}");
    database.batch_execute(&prepare).await?;
    let parameters = (1..=9)
        .take_while(|number| claim.contains(&format!("${number}")))
        .count();
    // Every parameter is a number or a time in a number's form. Only the first one, the number of
    // orders to claim, matters for the plan.
    let values = vec!["'16'"; parameters].join(", ");
    let explain = format!("EXPLAIN EXECUTE claim({values})");
    let plan = database.query(&explain, &[]).await?;
    Ok(plan.iter().map(|row| row.get(0)).collect())
}

async fn running_claim(database: &Client) -> Fallible<Option<String>> {
    let running = "SELECT query FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND query LIKE '%UPDATE orders%epoch + 1%is_pending%SKIP LOCKED%' LIMIT 1";
    let started = Instant::now();
    while started.elapsed() <= CLAIM_TIMEOUT {
        if let Some(row) = database.query_opt(running, &[]).await? {
            return Ok(Some(row.get(0)));
        }
        tokio::time::sleep(CLAIM_POLL_INTERVAL).await;
    }
    Ok(None)
}
