//! Recovery at scale: how fast unfinished orders drain, what new orders feel of it, and how the
//! claim finds its rows.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;

use crate::Fallible;
use crate::database;
use crate::load::{Latency, Load, Run, Subject};
use crate::stage::Stage;
use crate::stats::float;
use crate::wrk::{Seen, Wrk};

/// Each client orders about once a second: few at once, and one that waits does not hold up the
/// others.
const PAUSE_MS: u32 = 1000;
/// wrk's own end, long after the drain's.
const LONGEST: u32 = 3600;
const CLAIM_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Serialize)]
pub struct Backlog {
    /// Those that were left when the clock started.
    pub orders: u32,
    pub seconds: f64,
    pub per_second: f64,
    pub new_orders_per_second: f64,
    pub calm: Option<Latency>,
    pub meanwhile: Latency,
    /// New orders that were refused, or not answered, meanwhile.
    pub failed: u32,
    /// The claim's plan, line by line.
    pub plan: Vec<String>,
    pub by_index: bool,
}

pub async fn run(stage: &Stage<'_>) -> Fallible<Backlog> {
    let subject = Subject::build(stage, "backlog").await?;
    subject.warm_up().await?;
    let clients = stage.args.backlog_rate;
    let load = Load {
        clients,
        products: Some(1000),
        seconds: stage.args.seconds,
        pause_ms: PAUSE_MS,
    };
    eprintln!("calm: {clients} new orders a second");
    let Run { latency: calm, .. } = subject.run(&load).await?;
    let orders = stage.args.backlog_orders;
    eprintln!("draining {orders} orders");
    let fill = include_str!("backlog.sql").replace("$ROWS", &orders.to_string());
    database::execute(&subject.books, &fill).await?;
    let started = Instant::now();
    let left = database::unsettled(&subject.books).await?;
    let wrk = Wrk::start(
        subject.services.address(),
        &Load {
            seconds: LONGEST,
            ..load
        },
    )?;
    let plan = claim_plan(&subject.books).await?;
    let seconds = drained(&subject.books, started).await?;
    wrk.stop()?;
    let seen = wrk.finish().await?;
    database::quiet(&subject.books, None).await?;
    subject.close().await?;
    eprintln!("  {left} were left when the clock started, none after {seconds:.1} s");
    Ok(report(left, seconds, calm, &seen, plan))
}

fn report(
    orders: u32,
    seconds: f64,
    calm: Option<Latency>,
    seen: &Seen,
    plan: Vec<String>,
) -> Backlog {
    let by_index = plan.iter().any(|line| line.contains("Index"))
        && !plan.iter().any(|line| line.contains("Seq Scan"));
    Backlog {
        orders,
        seconds,
        per_second: f64::from(orders) / seconds,
        new_orders_per_second: f64::from(seen.requests) / seen.seconds,
        calm,
        meanwhile: seen.latency(),
        failed: seen.refused + seen.broken,
        plan,
        by_index,
    }
}

/// Waits until nothing of the backlog is left; new orders come and go all the while, and do not
/// count.
async fn drained(books: &Client, since: Instant) -> Fallible<f64> {
    let statement = format!(
        "SELECT count(*) FROM orders WHERE {} AND status <> 'PENDING'",
        database::UNSETTLED
    );
    let limit = Duration::from_secs(LONGEST.into());
    loop {
        let left: i64 = books.query_one(&statement, &[]).await?.get(0);
        if left == 0 {
            return Ok(since.elapsed().as_secs_f64());
        }
        if since.elapsed() > limit {
            return Err(format!("{left} orders of the backlog are still unfinished").into());
        }
        // A look costs more the more is left.
        let pause = float(left.unsigned_abs()) / 100_000.0;
        tokio::time::sleep(Duration::from_secs_f64(pause.clamp(0.01, 1.0))).await;
    }
}

/// The plan of the claim as the services send it: caught from the server, so that it is the real
/// statement.
async fn claim_plan(books: &Client) -> Fallible<Vec<String>> {
    let running =
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND query LIKE '%UPDATE orders%epoch + 1%PENDING_INVENTORY%SKIP LOCKED%' LIMIT 1";
    let started = Instant::now();
    let claim: String = loop {
        if let Some(row) = books.query_opt(running, &[]).await? {
            break row.get(0);
        }
        if started.elapsed() > CLAIM_LIMIT {
            return Ok(vec!["the claim was not seen on the server".to_owned()]);
        }
        tokio::time::sleep(POLL).await;
    };
    books
        .batch_execute(&format!("PREPARE claim AS {claim}"))
        .await?;
    let parameters = (1..=9)
        .take_while(|number| claim.contains(&format!("${number}")))
        .count();
    // All of them are numbers: how many to claim, and times. The plan depends on the first alone.
    let values = vec!["'16'"; parameters].join(", ");
    let plan = books
        .query(&format!("EXPLAIN EXECUTE claim({values})"), &[])
        .await?;
    Ok(plan.iter().map(|row| row.get(0)).collect())
}
