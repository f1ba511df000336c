//! What was found, for people, for the documentation, and for machines.

use serde::Serialize;

use crate::backlog::Backlog;
use crate::database::Work;
use crate::goals::{self, Bound, Goal, memory_under_load};
use crate::growth::{Growth, Point};
use crate::load::{Latency, Run};
use crate::machine::Machine;
use crate::rounds::{Round, Rounds};
use crate::services::ROLES;
use crate::stats::Spread;
use crate::table::Table;

#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    goals: Vec<Goal>,
    rounds: Option<Rounds>,
    growth: Option<Growth>,
    backlog: Option<Backlog>,
}

impl Report {
    pub fn new(
        machine: Machine,
        rounds: Option<Rounds>,
        growth: Option<Growth>,
        backlog: Option<Backlog>,
    ) -> Self {
        Self {
            machine,
            goals: rounds.as_ref().map(goals::of).unwrap_or_default(),
            rounds,
            growth,
            backlog,
        }
    }

    pub fn text(&self, markdown: bool) -> String {
        let mut parts = vec![self.heading()];
        let mut add = |table: &Table| parts.push(table.text(markdown));
        if let Some(rounds) = &self.rounds {
            add(&throughput(rounds));
            add(&latency(rounds));
            add(&processor(rounds));
            add(&database(rounds));
            add(&memory_and_start(rounds));
            add(&goals_table(&self.goals));
        }
        if let Some(growth) = &self.growth {
            add(&growth_table(
                "Growth with clients, spread over 1,000 products",
                "clients",
                &growth.clients,
            ));
            add(&growth_table(
                "Growth with products, 32 clients",
                "products",
                &growth.products,
            ));
            add(&growth_table(
                "Growth with orders already stored, 32 clients, 1,000 products",
                "stored",
                &growth.stored,
            ));
        }
        if let Some(backlog) = &self.backlog {
            add(&backlog_table(backlog));
            parts.push(plan(backlog, markdown));
        }
        parts.extend(self.noise());
        parts.join("\n")
    }

    /// How much the figures can be trusted.
    fn noise(&self) -> Option<String> {
        let rounds = self.rounds.iter().flat_map(|rounds| &rounds.each);
        let growth = self
            .growth
            .iter()
            .flat_map(|growth| [&growth.clients, &growth.products, &growth.stored]);
        let runs: Vec<&Run> = rounds
            .flat_map(|round| RUNS.map(|(_, run)| run(round)))
            .chain(growth.flatten().flat_map(|point| &point.runs))
            .collect();
        let failed: u32 = runs.iter().map(|run| run.failed).sum();
        let others = Spread::of(runs.iter().map(|run| run.cost.others * 100.0));
        let text = format!(
            "Requests that failed: {failed}. Others took {others:.1} % of the machine's processor time. The books balance."
        );
        (!runs.is_empty()).then_some(text)
    }

    fn heading(&self) -> String {
        let Machine {
            commit,
            program,
            processor,
            cores,
            memory_gb,
            kernel,
            postgresql,
            file_system,
            environment,
        } = &self.machine;
        let set = if environment.is_empty() {
            "none".to_owned()
        } else {
            environment.join(" ")
        };
        format!(
            "{program} at commit {commit}; services' variables set from outside: {set}\n\
             {processor}, {cores} cores, {memory_gb:.0} GB; {kernel}; PostgreSQL {postgresql} on {file_system}\n"
        )
    }
}

type OneOf = fn(&Round) -> &Run;

/// The runs of a round by name, in the order of the tables.
const RUNS: [(&str, OneOf); 6] = [
    ("spread: 1,000 products, 32 clients", |round| &round.spread),
    ("pgbench spread, 16 clients", |round| &round.pgbench_spread),
    ("hot: one product, 32 clients", |round| &round.hot),
    ("pgbench hot, 16 clients", |round| &round.pgbench_hot),
    ("one client, 1,000 products", |round| &round.one),
    ("pgbench, one client", |round| &round.pgbench_one),
];

fn throughput(rounds: &Rounds) -> Table {
    let title = format!(
        "Orders per second, {} × {} s",
        rounds.each.len(),
        rounds.seconds
    );
    let mut table = Table::new(title, ["", "median", "min..max", "taken by others, %"]);
    for (name, run) in RUNS {
        let of = |figure: fn(&Run) -> f64| {
            Spread::of(rounds.each.iter().map(|round| figure(run(round))))
        };
        let Spread { median, min, max } = of(|run| run.per_second);
        let others = of(|run| run.cost.others * 100.0);
        table.row([
            name.to_owned(),
            format!("{median:.0}"),
            format!("{min:.0}..{max:.0}"),
            format!("{others:.0}"),
        ]);
    }
    table
}

fn latency(rounds: &Rounds) -> Table {
    let mut table = Table::new(
        "Latency, ms: medians over the rounds (min..max)",
        ["", "p50", "p90", "p99", "max"],
    );
    for (name, run) in RUNS {
        let of = |figure: fn(&Latency) -> f64| {
            let figures = rounds
                .each
                .iter()
                .filter_map(|round| run(round).latency.as_ref().map(figure));
            format!("{:.2}", Spread::of(figures))
        };
        if rounds.each.iter().all(|round| run(round).latency.is_some()) {
            table.row([
                name.to_owned(),
                of(|l| l.p50),
                of(|l| l.p90),
                of(|l| l.p99),
                of(|l| l.max),
            ]);
        }
    }
    table
}

fn processor(rounds: &Rounds) -> Table {
    let head = [
        "",
        "order",
        "inventory",
        "payment",
        "PostgreSQL",
        "wrk or pgbench",
        "sum",
    ];
    let mut table = Table::new(
        "Processor time of an order, µs: medians over the rounds",
        head,
    );
    for (name, run) in RUNS {
        let of = |figure: &dyn Fn(&Run) -> f64| {
            let micros = |run: &Run| figure(run) * 1e6 / f64::from(run.orders);
            Spread::of(rounds.each.iter().map(|round| micros(run(round)))).median
        };
        // Beside pgbench the services do nothing that is an order's.
        let services = if name.starts_with("pgbench") {
            0.0
        } else {
            1.0
        };
        let role = |role: usize| of(&|run| run.cost.roles[role] * services);
        let parts = [
            role(0),
            role(1),
            role(2),
            of(&|run| run.cost.postgres),
            of(&|run| run.cost.load),
        ];
        let cells = parts.map(|part| {
            if part > 0.0 {
                format!("{part:.0}")
            } else {
                "–".to_owned()
            }
        });
        let [order, inventory, payment, postgres, load] = cells;
        let sum = format!("{:.0}", parts.iter().sum::<f64>());
        table.row([
            name.to_owned(),
            order,
            inventory,
            payment,
            postgres,
            load,
            sum,
        ]);
    }
    table
}

fn database(rounds: &Rounds) -> Table {
    let head = ["", "commits", "WAL, bytes", "stored with indexes, bytes"];
    let mut table = Table::new(
        "What an order leaves in the database: medians over the rounds",
        head,
    );
    for (name, run) in RUNS {
        let of = |figure: fn(&Work) -> f64| {
            let each = |run: &Run| Some(figure(run.work.as_ref()?) / f64::from(run.orders));
            Spread::of(rounds.each.iter().filter_map(|round| each(run(round)))).median
        };
        let (commits, wal, stored) = (
            of(|w| w.commits),
            of(|w| w.wal_bytes),
            of(|w| w.stored_bytes),
        );
        if rounds.each.iter().all(|round| run(round).work.is_some()) {
            table.row([
                name.to_owned(),
                format!("{commits:.2}"),
                format!("{wal:.0}"),
                format!("{stored:.0}"),
            ]);
        }
    }
    table
}

fn memory_and_start(rounds: &Rounds) -> Table {
    let head = ["", "MB at rest", "MB under load", "ms from start to ready"];
    let mut table = Table::new("Memory (resident) and start", head);
    for (role, name) in ROLES.iter().enumerate() {
        let load = Spread::of(
            rounds
                .each
                .iter()
                .map(|round| memory_under_load(round, role) / 1e6),
        );
        let rest = rounds.memory_at_rest[role] / 1e6;
        let start = Spread::of(rounds.starts[role].iter().copied());
        table.row([
            (*name).to_owned(),
            format!("{rest:.1}"),
            format!("{load:.1}"),
            format!("{start:.0}"),
        ]);
    }
    table
}

fn goals_table(goals: &[Goal]) -> Table {
    let mut table = Table::new("Goals", ["", "median (min..max)", "goal", "met"]);
    for Goal {
        name,
        figure,
        bound,
        met,
    } in goals
    {
        let bound = match bound {
            Bound::AtLeast(least) => format!("≥ {least:.2}"),
            Bound::AtMost(most) => format!("≤ {most:.2}"),
        };
        let mark = if *met { "✓" } else { "✗" };
        table.row([name.clone(), format!("{figure:.2}"), bound, mark.to_owned()]);
    }
    table
}

fn growth_table(title: &str, what: &str, points: &[Point]) -> Table {
    let mut table = Table::new(
        title,
        [
            what,
            "orders/s (min..max)",
            "p50 ms",
            "p99 ms",
            "failed requests",
        ],
    );
    for Point { at, runs } in points {
        let rate = Spread::of(runs.iter().map(|run| run.per_second));
        let of = |figure: fn(&Latency) -> f64| {
            Spread::of(
                runs.iter()
                    .filter_map(|run| run.latency.as_ref().map(figure)),
            )
        };
        let failed: u32 = runs.iter().map(|run| run.failed).sum();
        let (p50, p99) = (
            of(|latency| latency.p50).median,
            of(|latency| latency.p99).median,
        );
        table.row([
            at.to_string(),
            format!("{rate:.0}"),
            format!("{p50:.1}"),
            format!("{p99:.1}"),
            failed.to_string(),
        ]);
    }
    table
}

fn backlog_table(backlog: &Backlog) -> Table {
    let Backlog {
        orders,
        seconds,
        per_second,
        new_orders_per_second,
        ..
    } = backlog;
    let title = format!(
        "A backlog of {orders} orders: drained in {seconds:.1} s, {per_second:.0} a second, beside {new_orders_per_second:.0} new orders a second"
    );
    let mut table = Table::new(
        title,
        ["latency of new orders, ms", "p50", "p90", "p99", "max"],
    );
    for (name, latency) in [
        ("calm", backlog.calm),
        ("meanwhile", Some(backlog.meanwhile)),
    ] {
        let of = |figure: fn(&Latency) -> f64| {
            latency.as_ref().map_or("–".to_owned(), |latency| {
                format!("{:.2}", figure(latency))
            })
        };
        table.row([
            name.to_owned(),
            of(|l| l.p50),
            of(|l| l.p90),
            of(|l| l.p99),
            of(|l| l.max),
        ]);
    }
    table
}

fn plan(backlog: &Backlog, markdown: bool) -> String {
    let mark = if backlog.by_index {
        "✓ the claim finds its rows by an index"
    } else {
        "✗ the claim does not use an index"
    };
    let fence = if markdown { "```" } else { "" };
    format!(
        "{mark}; {} new orders failed meanwhile\n\n{fence}\n{}\n{fence}\n",
        backlog.failed,
        backlog.plan.join("\n")
    )
}
