//! The tables of the rounds.

use valerix::testbed::service_kind::ServiceKind;

use crate::database::DatabaseWork;
use crate::goals::{Bound, Goal, memory_under_load};
use crate::latency::Latency;
use crate::rounds::{Round, Rounds};
use crate::run::Run;
use crate::stats::Spread;
use crate::table::Table;

const BYTES_PER_MEGABYTE: f64 = 1e6;
const MICROS_PER_SECOND: f64 = 1e6;

struct NamedRun {
    name: &'static str,
    is_pgbench: bool,
    of: fn(&Round) -> &Run,
}

const fn platform(name: &'static str, of: fn(&Round) -> &Run) -> NamedRun {
    NamedRun {
        name,
        is_pgbench: false,
        of,
    }
}

const fn pgbench(name: &'static str, of: fn(&Round) -> &Run) -> NamedRun {
    NamedRun {
        name,
        is_pgbench: true,
        of,
    }
}

/// The runs of a round, in the order of the tables.
const RUNS: [NamedRun; 6] = [
    platform("spread: 1,000 products, 32 clients", |round| &round.spread),
    pgbench("pgbench spread, 16 clients", |round| &round.pgbench_spread),
    platform("hot: one product, 32 clients", |round| &round.hot),
    pgbench("pgbench hot, 16 clients", |round| &round.pgbench_hot),
    platform("one client, 1,000 products", |round| &round.one_client),
    pgbench("pgbench, one client", |round| &round.pgbench_one_client),
];

impl NamedRun {
    /// A value of this run in each round.
    fn spread(&self, rounds: &Rounds, value: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(rounds.all.iter().map(|round| value((self.of)(round))))
    }

    /// A value of this run in each round. `None` if a round lacks it.
    fn optional_spread(
        &self,
        rounds: &Rounds,
        value: impl Fn(&Run) -> Option<f64>,
    ) -> Option<Spread> {
        let values = rounds.all.iter().map(|round| value((self.of)(round)));
        Some(Spread::of(values.collect::<Option<Vec<_>>>()?))
    }
}

pub fn all(rounds: &Rounds, goals: &[Goal]) -> [Table; 6] {
    [
        throughput(rounds),
        latency(rounds),
        processor_time(rounds),
        database_work(rounds),
        memory_and_start(rounds),
        goals_table(goals),
    ]
}

pub fn runs(round: &Round) -> [&Run; 6] {
    RUNS.map(|run| (run.of)(round))
}

fn throughput(rounds: &Rounds) -> Table {
    let title = format!(
        "Orders per second, {} × {} s",
        rounds.all.len(),
        rounds.seconds
    );
    let mut table = Table::new(title, ["", "median", "min..max", "taken by others, %"]);
    for run in RUNS {
        let Spread { median, min, max } = run.spread(rounds, |run| run.per_second);
        let others = run.spread(rounds, |run| run.usage.others * 100.0);
        table.row([
            run.name.to_owned(),
            format!("{median:.0}"),
            format!("{min:.0}..{max:.0}"),
            format!("{others:.0}"),
        ]);
    }
    table
}

fn latency(rounds: &Rounds) -> Table {
    let title = "Latency, ms: medians over the rounds (min..max)";
    let mut table = Table::new(title, ["", "p50", "p90", "p99", "max"]);
    for run in RUNS {
        let cell = |value: fn(&Latency) -> f64| {
            let spread = run.optional_spread(rounds, |run| run.latency.as_ref().map(value));
            spread.map(|spread| format!("{spread:.2}"))
        };
        let cells = [
            cell(|l| l.p50),
            cell(|l| l.p90),
            cell(|l| l.p99),
            cell(|l| l.max),
        ];
        if let [Some(p50), Some(p90), Some(p99), Some(max)] = cells {
            table.row([run.name.to_owned(), p50, p90, p99, max]);
        }
    }
    table
}

fn processor_time(rounds: &Rounds) -> Table {
    let heads = [
        "",
        "order",
        "inventory",
        "payment",
        "PostgreSQL",
        "wrk or pgbench",
        "sum",
    ];
    let title = "Processor time of an order, µs: medians over the rounds";
    let mut table = Table::new(title, heads);
    for run in RUNS {
        let per_order = |seconds: &dyn Fn(&Run) -> f64| {
            let micros = |run: &Run| seconds(run) * MICROS_PER_SECOND / f64::from(run.orders);
            run.spread(rounds, micros).median
        };
        let service = |kind: ServiceKind| {
            // During a run of pgbench the services process no orders.
            let share = if run.is_pgbench { 0.0 } else { 1.0 };
            per_order(&|run| run.usage.services[kind.index()] * share)
        };
        let parts = [
            service(ServiceKind::Order),
            service(ServiceKind::Inventory),
            service(ServiceKind::Payment),
            per_order(&|run| run.usage.postgres),
            per_order(&|run| run.usage.load),
        ];
        let [order, inventory, payment, postgres, load] = parts.map(|micros| {
            if micros > 0.0 {
                format!("{micros:.0}")
            } else {
                "–".to_owned()
            }
        });
        let sum = format!("{:.0}", parts.iter().sum::<f64>());
        let name = run.name.to_owned();
        table.row([name, order, inventory, payment, postgres, load, sum]);
    }
    table
}

fn database_work(rounds: &Rounds) -> Table {
    let title = "What an order leaves in the database: medians over the rounds";
    let heads = ["", "commits", "WAL, bytes", "stored with indexes, bytes"];
    let mut table = Table::new(title, heads);
    for run in RUNS {
        let per_order = |value: fn(&DatabaseWork) -> f64| {
            let value = |run: &Run| Some(value(run.work.as_ref()?) / f64::from(run.orders));
            run.optional_spread(rounds, value)
                .map(|spread| spread.median)
        };
        let cells = [
            per_order(|work| work.commits),
            per_order(|work| work.wal_bytes),
            per_order(|work| work.stored_bytes),
        ];
        if let [Some(commits), Some(wal_bytes), Some(stored_bytes)] = cells {
            table.row([
                run.name.to_owned(),
                format!("{commits:.2}"),
                format!("{wal_bytes:.0}"),
                format!("{stored_bytes:.0}"),
            ]);
        }
    }
    table
}

fn memory_and_start(rounds: &Rounds) -> Table {
    let heads = [
        "",
        "MB at rest",
        "of which its own",
        "MB under load",
        "ms from start to ready",
    ];
    let mut table = Table::new("Memory (resident) and start", heads);
    for kind in ServiceKind::ALL {
        let at_rest = rounds.memory_at_rest[kind.index()] / BYTES_PER_MEGABYTE;
        let own = rounds.own_memory_at_rest[kind.index()] / BYTES_PER_MEGABYTE;
        let loaded = rounds.all.iter();
        let loaded = loaded.map(|round| memory_under_load(round, kind) / BYTES_PER_MEGABYTE);
        let starts = Spread::of(rounds.starts[kind.index()].iter().copied());
        table.row([
            kind.to_string(),
            format!("{at_rest:.1}"),
            format!("{own:.1}"),
            format!("{:.1}", Spread::of(loaded)),
            format!("{starts:.0}"),
        ]);
    }
    table
}

fn goals_table(goals: &[Goal]) -> Table {
    let mut table = Table::new("Goals", ["", "median (min..max)", "goal", "met"]);
    for goal in goals {
        let bound = match goal.bound {
            Bound::AtLeast(min) => format!("≥ {min:.2}"),
            Bound::AtMost(max) => format!("≤ {max:.2}"),
        };
        let mark = if goal.met { "✓" } else { "✗" };
        table.row([
            goal.name.clone(),
            format!("{:.2}", goal.measured),
            bound,
            mark.to_owned(),
        ]);
    }
    table
}
