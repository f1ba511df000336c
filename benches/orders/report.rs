//! The results as text, as Markdown and as JSON.

use serde::Serialize;

use crate::backlog::Backlog;
use crate::goals::{Goal, goals};
use crate::growth::Growth;
use crate::machine::Machine;
use crate::rounds::Rounds;
use crate::run::Run;
use crate::stats::Spread;
use crate::table::Table;
use crate::{backlog_tables, growth_tables, round_tables};

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
            goals: rounds.as_ref().map(goals).unwrap_or_default(),
            rounds,
            growth,
            backlog,
        }
    }

    pub fn text(&self, markdown: bool) -> String {
        let mut tables: Vec<Table> = Vec::new();
        if let Some(rounds) = &self.rounds {
            tables.extend(round_tables::all(rounds, &self.goals));
        }
        if let Some(growth) = &self.growth {
            tables.extend(growth_tables::all(growth));
        }
        tables.extend(self.backlog.as_ref().map(backlog_tables::latency));
        let mut parts = vec![self.heading()];
        parts.extend(tables.iter().map(|table| table.text(markdown)));
        if let Some(backlog) = &self.backlog {
            parts.push(backlog_tables::plan(backlog, markdown));
        }
        parts.extend(self.quality());
        parts.join("\n")
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
        let variables = if environment.is_empty() {
            "none".to_owned()
        } else {
            environment.join(" ")
        };
        format!(
            "{program} at commit {commit}; variables set for the services: {variables}\n\
             {processor}, {cores} cores, {memory_gb:.0} GB; {kernel}; \
             PostgreSQL {postgresql} on {file_system}\n"
        )
    }

    /// Says how far the results can be trusted.
    fn quality(&self) -> Option<String> {
        let rounds = self.rounds.iter().flat_map(|rounds| &rounds.all);
        let growth = self.growth.iter();
        let points = growth.flat_map(|growth| {
            [&growth.clients, &growth.products, &growth.stored]
                .into_iter()
                .flatten()
        });
        let runs: Vec<&Run> = rounds
            .flat_map(round_tables::runs)
            .chain(points.flat_map(|point| &point.runs))
            .collect();
        if runs.is_empty() {
            return None;
        }
        let failed: u32 = runs.iter().map(|run| run.failed).sum();
        let others = Spread::of(runs.iter().map(|run| run.usage.others * 100.0));
        Some(format!(
            "Requests that failed: {failed}. Other programs took {others:.1} % of the machine's \
             processor time. All invariants hold."
        ))
    }
}
