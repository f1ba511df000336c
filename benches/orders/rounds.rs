//! The rounds: ours and pgbench in turn, spread over products, on one hot product, and with a
//! single client.

use std::time::Duration;

use serde::Serialize;

use crate::Fallible;
use crate::load::{Run, Subject};
use crate::stage::Stage;

const PRODUCTS: u32 = 1000;
const CLIENTS: u32 = 32;
const PGBENCH_CLIENTS: u32 = 16;
/// Starts of each role that are timed.
const STARTS: u32 = 5;
/// How long the idle services are looked at.
const REST: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
pub struct Rounds {
    pub seconds: u32,
    /// Milliseconds from start to the first 200 of `/readyz`: order, inventory, payment.
    pub starts: [Vec<f64>; 3],
    /// Bytes resident before the first order: order, inventory, payment.
    pub memory_at_rest: [f64; 3],
    pub each: Vec<Round>,
}

#[derive(Debug, Serialize)]
pub struct Round {
    pub spread: Run,
    pub pgbench_spread: Run,
    pub hot: Run,
    pub pgbench_hot: Run,
    pub one: Run,
    pub pgbench_one: Run,
}

pub async fn run(stage: &Stage<'_>) -> Fallible<Rounds> {
    let mut subject = Subject::build(stage, "rounds").await?;
    let starts = time_starts(&mut subject).await?;
    let idle = async {
        tokio::time::sleep(REST).await;
        Ok(())
    };
    let ((), cost) = subject.watched().during(idle).await?;
    eprintln!("warming up");
    subject.warm_up().await?;
    let mut each = Vec::new();
    for number in 1..=stage.args.rounds {
        eprintln!("round {number} of {}", stage.args.rounds);
        each.push(round(&subject).await?);
    }
    subject.close().await?;
    Ok(Rounds {
        seconds: stage.args.seconds,
        starts,
        memory_at_rest: cost.memory,
        each,
    })
}

async fn time_starts(subject: &mut Subject<'_>) -> Fallible<[Vec<f64>; 3]> {
    let mut starts = [const { Vec::new() }; 3];
    for _ in 0..STARTS {
        for (role, times) in starts.iter_mut().enumerate() {
            times.push(subject.services.restart(role).await?.as_secs_f64() * 1000.0);
        }
    }
    Ok(starts)
}

async fn round(subject: &Subject<'_>) -> Fallible<Round> {
    Ok(Round {
        spread: told("spread", subject.orders(CLIENTS, Some(PRODUCTS)).await?),
        pgbench_spread: told(
            "pgbench spread",
            subject.pgbench(PGBENCH_CLIENTS, PRODUCTS).await?,
        ),
        hot: told("hot", subject.orders(CLIENTS, None).await?),
        pgbench_hot: told("pgbench hot", subject.pgbench(PGBENCH_CLIENTS, 1).await?),
        one: told("one client", subject.orders(1, Some(PRODUCTS)).await?),
        pgbench_one: told("pgbench, one client", subject.pgbench(1, PRODUCTS).await?),
    })
}

/// Says at once what a run came to; the tables come at the end.
fn told(what: &str, run: Run) -> Run {
    eprintln!("  {what}: {:.0} orders/s", run.per_second);
    run
}
