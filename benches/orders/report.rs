//! The results as text, as Markdown and as JSON.

use serde::Serialize;

use crate::backlog::Backlog;
use crate::fallible::Fallible;
use crate::goals::{Goal, goals};
use crate::growth::Growth;
use crate::last_run::LastRun;
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

    /// Compares the rounds with those of the last run, and replaces the last run by them. `None`
    /// without rounds, and if the last run was made on another machine.
    ///
    /// # Errors
    /// When the file of the last run cannot be read or written.
    pub fn compare_with_last_run(&self) -> Fallible<Option<Table>> {
        if self.goals.is_empty() {
            return Ok(None);
        }
        let earlier = LastRun::load()?;
        let run = LastRun::new(&self.machine, &self.goals);
        run.save()?;
        Ok(earlier.and_then(|earlier| run.compared_with(&earlier)))
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
