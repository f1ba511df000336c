//! The goals, and whether the rounds meet them. A ratio compares two runs of the same round.

use serde::Serialize;
use valerix::testbed::service_kind::ServiceKind;

use crate::latency::Latency;
use crate::rounds::{Round, Rounds};
use crate::run::Run;
use crate::stats::Spread;

const BYTES_PER_MEGABYTE: f64 = 1e6;

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Serialize)]
pub struct Goal {
    pub name: String,
    #[serde(rename = "figure")]
    pub measured: Spread,
    pub bound: Bound,
    /// Whether the median is within the bound.
    pub met: bool,
}

impl Goal {
    fn new(name: impl Into<String>, values: impl IntoIterator<Item = f64>, bound: Bound) -> Self {
        let measured = Spread::of(values);
        let met = match bound {
            Bound::AtLeast(min) => measured.median >= min,
            Bound::AtMost(max) => measured.median <= max,
        };
        Self {
            name: name.into(),
            measured,
            bound,
            met,
        }
    }
}

pub fn goals(rounds: &Rounds) -> Vec<Goal> {
    let mut goals = speed_goals(rounds);
    for kind in ServiceKind::ALL {
        goals.extend(service_goals(rounds, kind));
    }
    goals
}

fn speed_goals(rounds: &Rounds) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    let each = |value: fn(&Round) -> f64| rounds.all.iter().map(value).collect::<Vec<_>>();
    let spread = each(|round| round.spread.per_second / round.pgbench_spread.per_second);
    let hot = each(|round| round.hot.per_second / round.pgbench_hot.per_second);
    let hot_by_spread = each(|round| round.hot.per_second / round.spread.per_second);
    let processor_time = each(|round| {
        let services: f64 = round.spread.usage.services.iter().sum();
        let platform = (services + round.spread.usage.postgres) / f64::from(round.spread.orders);
        let pgbench = &round.pgbench_spread;
        // Neither wrk nor pgbench itself counts.
        platform / (pgbench.usage.postgres / f64::from(pgbench.orders))
    });
    let p50 = each(|round| {
        latency(&round.one_client, |l| l.p50) / latency(&round.pgbench_one_client, |l| l.p50)
    });
    let spread_tail = each(|round| latency(&round.spread, |l| l.p99 / l.p50));
    let hot_tail = each(|round| latency(&round.hot, |l| l.p99 / l.p50));
    vec![
        Goal::new("spread ÷ pgbench spread", spread, AtLeast(1.6)),
        Goal::new("hot ÷ pgbench hot", hot, AtLeast(4.0)),
        Goal::new("hot ÷ spread", hot_by_spread, AtLeast(0.8)),
        Goal::new(
            "processor time of an order ÷ pgbench's, spread",
            processor_time,
            AtMost(0.55),
        ),
        Goal::new("one client's p50 ÷ pgbench's p50", p50, AtMost(1.5)),
        Goal::new("spread: p99 ÷ p50", spread_tail, AtMost(2.0)),
        Goal::new("hot: p99 ÷ p50", hot_tail, AtMost(2.0)),
    ]
}

fn service_goals(rounds: &Rounds, kind: ServiceKind) -> [Goal; 3] {
    let at_rest = [rounds.memory_at_rest[kind.index()] / BYTES_PER_MEGABYTE];
    let loaded = rounds.all.iter();
    let loaded = loaded.map(|round| memory_under_load(round, kind) / BYTES_PER_MEGABYTE);
    let starts = rounds.starts[kind.index()].iter().copied();
    [
        Goal::new(format!("{kind}: MB at rest"), at_rest, Bound::AtMost(14.0)),
        Goal::new(
            format!("{kind}: MB under load"),
            loaded,
            Bound::AtMost(40.0),
        ),
        Goal::new(
            format!("{kind}: ms from start to ready"),
            starts,
            Bound::AtMost(100.0),
        ),
    ]
}

/// The most resident bytes of a service in the runs of a round.
pub fn memory_under_load(round: &Round, kind: ServiceKind) -> f64 {
    [&round.spread, &round.hot, &round.one_client]
        .into_iter()
        .map(|run| run.usage.memory[kind.index()])
        .fold(0.0, f64::max)
}

fn latency(run: &Run, value: fn(&Latency) -> f64) -> f64 {
    run.latency.as_ref().map_or(f64::NAN, value)
}
