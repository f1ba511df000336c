//! What is wanted, beside what was measured. Ratios are those of neighbouring runs of one round.

use serde::Serialize;

use crate::load::Run;
use crate::rounds::{Round, Rounds};
use crate::services::ROLES;
use crate::stats::Spread;

/// A service of the same design in Go, measured once beside pgbench: its share of pgbench's orders
/// per second.
const GO_SPREAD: f64 = 0.34;
const GO_HOT: f64 = 0.65;
const GO_TIMES: f64 = 3.0;
const MEGABYTE: f64 = 1e6;

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Serialize)]
pub struct Goal {
    pub name: String,
    pub figure: Spread,
    pub bound: Bound,
    pub met: bool,
}

impl Goal {
    fn new(name: impl Into<String>, figures: impl IntoIterator<Item = f64>, bound: Bound) -> Self {
        let figure = Spread::of(figures);
        let met = match bound {
            Bound::AtLeast(least) => figure.median >= least,
            Bound::AtMost(most) => figure.median <= most,
        };
        Self {
            name: name.into(),
            figure,
            bound,
            met,
        }
    }
}

pub fn of(rounds: &Rounds) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    let each = |figure: fn(&Round) -> f64| rounds.each.iter().map(figure).collect::<Vec<_>>();
    let spread = each(|round| round.spread.per_second / round.pgbench_spread.per_second);
    let hot = each(|round| round.hot.per_second / round.pgbench_hot.per_second);
    let mut goals = vec![
        Goal::new("spread ÷ pgbench spread", spread.clone(), AtLeast(1.0)),
        Goal::new(
            "spread ÷ pgbench spread, 3 × Go's",
            spread,
            AtLeast(GO_TIMES * GO_SPREAD),
        ),
        Goal::new("hot ÷ pgbench hot", hot.clone(), AtLeast(3.0)),
        Goal::new(
            "hot ÷ pgbench hot, 3 × Go's",
            hot,
            AtLeast(GO_TIMES * GO_HOT),
        ),
        Goal::new(
            "hot ÷ spread",
            each(|round| round.hot.per_second / round.spread.per_second),
            AtLeast(0.8),
        ),
        Goal::new(
            "one client's p50 ÷ pgbench's p50",
            each(|round| {
                of_latency(&round.one, |l| l.p50) / of_latency(&round.pgbench_one, |l| l.p50)
            }),
            AtMost(1.5),
        ),
        Goal::new(
            "spread: p99 ÷ p50",
            each(|round| of_latency(&round.spread, |l| l.p99 / l.p50)),
            AtMost(3.0),
        ),
        Goal::new(
            "hot: p99 ÷ p50",
            each(|round| of_latency(&round.hot, |l| l.p99 / l.p50)),
            AtMost(3.0),
        ),
    ];
    for (role, name) in ROLES.iter().enumerate() {
        let rest = [rounds.memory_at_rest[role] / MEGABYTE];
        let load = rounds
            .each
            .iter()
            .map(|round| memory_under_load(round, role) / MEGABYTE);
        goals.push(Goal::new(format!("{name}: MB at rest"), rest, AtMost(15.0)));
        goals.push(Goal::new(
            format!("{name}: MB under load"),
            load,
            AtMost(40.0),
        ));
        let starts = rounds.starts[role].iter().copied();
        goals.push(Goal::new(
            format!("{name}: ms from start to ready"),
            starts,
            AtMost(100.0),
        ));
    }
    goals
}

pub fn memory_under_load(round: &Round, role: usize) -> f64 {
    [&round.spread, &round.hot, &round.one]
        .into_iter()
        .map(|run| run.cost.memory[role])
        .fold(0.0, f64::max)
}

fn of_latency(run: &Run, figure: fn(&crate::load::Latency) -> f64) -> f64 {
    run.latency.as_ref().map_or(f64::NAN, figure)
}
