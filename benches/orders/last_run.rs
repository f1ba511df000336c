//! The figures of the last run on the same machine, and how the present ones compare with them.
//!
//! The figures are those of the goals. Those of speed are ratios of neighbouring runs, so that they
//! can be compared although the machine was not equally busy.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::fallible::Fallible;
use crate::goals::Goal;
use crate::machine::Machine;
use crate::table::Table;

#[derive(Debug, Serialize, Deserialize)]
pub struct LastRun {
    /// Processor, cores, PostgreSQL and file system. Only runs with the same ones are compared.
    machine: String,
    commit: String,
    ended_at: DateTime<Utc>,
    /// The median of each goal, by its name.
    medians: Vec<(String, f64)>,
}

/// In `target/tmp`, which a clean build removes.
fn file() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("last-bench.json")
}

impl LastRun {
    /// `None` if there was none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load() -> Fallible<Option<Self>> {
        match std::fs::read(file()) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub fn new(machine: &Machine, goals: &[Goal]) -> Self {
        let Machine {
            processor,
            cores,
            postgresql,
            file_system,
            ..
        } = machine;
        Self {
            machine: format!("{processor}, {cores} cores, {postgresql}, {file_system}"),
            commit: machine.commit.clone(),
            ended_at: Utc::now(),
            medians: goals
                .iter()
                .map(|goal| (goal.name.clone(), goal.measured.median))
                .collect(),
        }
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Fallible<()> {
        Ok(std::fs::write(file(), serde_json::to_vec_pretty(self)?)?)
    }

    /// The figures of `earlier` beside these; `None` if it was made on another machine.
    pub fn compared_with(&self, earlier: &Self) -> Option<Table> {
        if self.machine != earlier.machine {
            return None;
        }
        let title = format!(
            "Compared with the run of {} at commit {}",
            earlier.ended_at.format("%Y-%m-%d %H:%M UTC"),
            earlier.commit
        );
        let mut table = Table::new(title, ["median of", "then", "now", "now ÷ then"]);
        for (name, now) in &self.medians {
            let then = earlier.medians.iter().find(|(other, _)| other == name);
            if let Some((_, then)) = then {
                table.row([
                    name.clone(),
                    format!("{then:.2}"),
                    format!("{now:.2}"),
                    format!("{:.2}", now / then),
                ]);
            }
        }
        Some(table)
    }
}
