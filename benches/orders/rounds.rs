//! Rounds of runs: the platform and pgbench in turn, with orders spread over many products, with
//! orders for one product, and with a single client.

use std::time::Duration;

use serde::Serialize;
use valerix::testbed::service_kind::ServiceKind;

use crate::fallible::Fallible;
use crate::fixture::Fixture;
use crate::platform::Platform;
use crate::run::Run;

const PRODUCTS: u32 = 1000;
const CLIENTS: u32 = 32;
const PGBENCH_CLIENTS: u32 = 16;
/// The number of timed starts of each service.
const STARTS: u32 = 5;
/// How long the idle services' memory is watched.
const IDLE_DURATION: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
pub struct Rounds {
    /// The length of each run.
    pub seconds: u32,
    /// Milliseconds from a start until `/readyz` answers 200, in the order of `ServiceKind::ALL`.
    pub starts: [Vec<f64>; 3],
    /// Resident bytes before the first order, in the order of `ServiceKind::ALL`.
    pub memory_at_rest: [f64; 3],
    /// The part of it that belongs to one process alone. The rest are pages of files, mostly of the
    /// program, which all its processes share.
    pub own_memory_at_rest: [f64; 3],
    #[serde(rename = "each")]
    pub all: Vec<Round>,
}

#[derive(Debug, Serialize)]
pub struct Round {
    /// Orders spread over many products.
    pub spread: Run,
    pub pgbench_spread: Run,
    /// Orders for one product.
    pub hot: Run,
    pub pgbench_hot: Run,
    /// Orders of one client, spread over many products.
    #[serde(rename = "one")]
    pub one_client: Run,
    #[serde(rename = "pgbench_one")]
    pub pgbench_one_client: Run,
}

pub async fn run(fixture: &Fixture<'_>) -> Fallible<Rounds> {
    let mut platform = Platform::start(fixture, "rounds").await?;
    let starts = time_starts(&mut platform).await?;
    let idle = async {
        tokio::time::sleep(IDLE_DURATION).await;
        Ok(())
    };
    let processes = platform.processes()?;
    let ((), usage_at_rest) = processes.measure(idle).await?;
    let own_memory_at_rest = processes.own_memory()?;
    eprintln!("warming up");
    platform.warm_up().await?;
    let mut all = Vec::new();
    for number in 1..=fixture.args.rounds {
        eprintln!("round {number} of {}", fixture.args.rounds);
        all.push(run_round(&platform).await?);
    }
    platform.stop().await?;
    Ok(Rounds {
        seconds: fixture.args.seconds,
        starts,
        memory_at_rest: usage_at_rest.memory,
        own_memory_at_rest,
        all,
    })
}

async fn time_starts(platform: &mut Platform<'_>) -> Fallible<[Vec<f64>; 3]> {
    let mut starts = [const { Vec::new() }; 3];
    for _ in 0..STARTS {
        for kind in ServiceKind::ALL {
            let duration = platform.restart(kind).await?;
            starts[kind.index()].push(duration.as_secs_f64() * 1000.0);
        }
    }
    Ok(starts)
}

async fn run_round(platform: &Platform<'_>) -> Fallible<Round> {
    let spread = platform.place_orders(CLIENTS, Some(PRODUCTS)).await?;
    print_result("spread", &spread);
    let pgbench_spread = platform.pgbench(PGBENCH_CLIENTS, PRODUCTS).await?;
    print_result("pgbench spread", &pgbench_spread);
    let hot = platform.place_orders(CLIENTS, None).await?;
    print_result("hot", &hot);
    let pgbench_hot = platform.pgbench(PGBENCH_CLIENTS, 1).await?;
    print_result("pgbench hot", &pgbench_hot);
    let one_client = platform.place_orders(1, Some(PRODUCTS)).await?;
    print_result("one client", &one_client);
    let pgbench_one_client = platform.pgbench(1, PRODUCTS).await?;
    print_result("pgbench, one client", &pgbench_one_client);
    Ok(Round {
        spread,
        pgbench_spread,
        hot,
        pgbench_hot,
        one_client,
        pgbench_one_client,
    })
}

fn print_result(what: &str, run: &Run) {
    eprintln!("  {what}: {:.0} orders/s", run.per_second);
}
