//! The report of a load, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::answers::{NO_ANSWER, NOT_AWAITED};
use super::judgement::Judgement;
use crate::platform::output::wrapped;
use crate::platform::text_table;

/// Between a status and its count, so that they stay on one line.
const NO_BREAK: &str = "\u{a0}";

#[derive(Debug, Serialize)]
pub struct Report {
    pub steps: Vec<Step>,
    /// Each limit at each rate; empty without limits.
    pub thresholds: Vec<Judgement>,
}

impl Report {
    /// Whether any order got an answer.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        let mut names = self.steps.iter().flat_map(|step| step.answers.keys());
        names.any(|name| name != NO_ANSWER && name != NOT_AWAITED)
    }

    /// The limits that were not kept, and by how much.
    pub fn exceeded(&self) -> impl Iterator<Item = &Judgement> {
        self.thresholds.iter().filter(|judgement| !judgement.kept)
    }
}

/// The results at one rate.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Orders per second that were due.
    pub rate: u32,
    /// The number of orders sent. Fewer than were due if a stop was requested.
    pub sent: u64,
    /// From the start of the step to the last answer.
    pub seconds: f64,
    /// The number of orders by the status of their answer; `none` without an answer in time.
    pub answers: BTreeMap<String, u64>,
    /// Orders per second with an answer other than 5xx.
    pub goodput: f64,
    /// The latency of the orders with an answer other than 5xx, from the time when they were due.
    pub latency: Latency,
    /// The latency of the orders that were answered with 503.
    pub refused: Latency,
}

/// Percentiles in milliseconds; zeros if there was no such order.
#[derive(Debug, Default, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}",
            "rate/s", "goodput/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "503 p99 ms"
        )?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        write!(
            f,
            "Latency counts from the time when an order was due. It covers all orders with\n\
             an answer other than 5xx."
        )?;
        for judgement in &self.thresholds {
            let lines = wrapped(&judgement.to_string(), text_table::WIDTH - 2);
            write!(f, "\n{}", lines.join("\n  "))?;
        }
        Ok(())
    }
}

/// A line of the table, and the answers below it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency {
            p50_ms,
            p90_ms,
            p99_ms,
            max_ms,
        } = &self.latency;
        let answers = self.answers.iter();
        let answers: Vec<_> = answers
            .map(|(status, count)| format!("{status}:{NO_BREAK}{count}"))
            .collect();
        write!(f, "{:>6} {:>9.1} ", self.rate, self.goodput)?;
        write!(
            f,
            "{p50_ms:>9.2} {p90_ms:>9.2} {p99_ms:>9.2} {max_ms:>9.2} "
        )?;
        writeln!(f, "{:>11.2}", self.refused.p99_ms)?;
        let start = format!("{:>6} {:>9} ", "", "answers");
        let lines = wrapped(&answers.join(", "), text_table::WIDTH - start.len());
        let next_line = format!("\n{}", " ".repeat(start.len()));
        let answers = lines.join(&next_line).replace(NO_BREAK, " ");
        write!(f, "{start}{answers}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits_80_columns_however_many_answers_there_are() {
        let statuses = [
            "201", "202", "400", "402", "409", "422", "429", "500", "503", "none",
        ];
        let most = Latency {
            p50_ms: 60_000.0,
            p90_ms: 60_000.0,
            p99_ms: 60_000.0,
            max_ms: 60_000.0,
        };
        let step = Step {
            rate: 100_000,
            sent: 1_000_000,
            seconds: 10.0,
            answers: statuses.map(|status| (status.to_owned(), 100_000)).into(),
            goodput: 99_999.9,
            latency: most,
            refused: Latency::default(),
        };
        let report = Report {
            steps: vec![step],
            thresholds: vec![Judgement {
                threshold: "max-errors",
                rate: 100_000,
                kept: false,
                found: "1000000 errors in 1000000 orders (100.00%), 99.50 points above \
                        --max-errors 0.5%"
                    .to_owned(),
            }],
        };
        let text = report.to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(
            text.contains("\n                 503: 100000, none: 100000\n"),
            "{text}"
        );
    }
}
