//! What the tour says, and what it found.

use std::time::Instant;

use serde::Serialize;

use crate::platform::output;

/// Prints each step as it happens, unless the report is for machines; then it is printed at the
/// end.
pub struct Narrator {
    started: Instant,
    prints: bool,
    coloured: bool,
    report: Report,
}

/// What a tour found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub passed: bool,
    pub checks: usize,
    pub failures: usize,
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub title: String,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    /// Since the tour began.
    pub seconds: f64,
    /// What was checked; absent where something was only noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    pub found: String,
}

impl Narrator {
    pub fn new(json: bool) -> Self {
        let coloured = output::takes_colours(&std::io::stdout());
        Self {
            started: Instant::now(),
            prints: !json,
            coloured,
            report: Report::default(),
        }
    }

    pub fn say(&mut self, what: &str) {
        self.headline(what);
        self.report.steps.push(Step {
            title: what.to_owned(),
            findings: Vec::new(),
        });
    }

    pub fn note(&mut self, what: &str) {
        let seconds = self.seconds();
        if self.prints {
            output::line(format_args!("  {seconds:5.1} s    {what}"));
        }
        self.add(Finding {
            seconds,
            check: None,
            passed: None,
            found: what.to_owned(),
        });
    }

    pub fn check(&mut self, what: &str, well: bool, got: impl std::fmt::Display) {
        self.report.checks += 1;
        self.report.failures += usize::from(!well);
        let mark = match (well, self.coloured) {
            (true, true) => "\x1b[32m✓\x1b[0m",
            (true, false) => "✓",
            (false, true) => "\x1b[31m✗\x1b[0m",
            (false, false) => "✗",
        };
        let seconds = self.seconds();
        if self.prints {
            output::line(format_args!("  {seconds:5.1} s  {mark} {what}: {got}"));
        }
        let (check, found) = (Some(what.to_owned()), got.to_string());
        self.add(Finding {
            seconds,
            check,
            passed: Some(well),
            found,
        });
    }

    /// Prints the verdict, and returns what was found.
    pub fn conclude(mut self) -> Report {
        self.report.passed = self.report.failures == 0;
        match (self.report.checks, self.report.failures) {
            (_, 0) => self.headline("All is as it should be."),
            (checks, failures) => self.headline(&format!("{failures} of {checks} checks failed.")),
        }
        if !self.prints {
            output::line(format_args!("{:#}", serde_json::json!(self.report)));
        }
        self.report
    }

    fn headline(&self, what: &str) {
        match (self.prints, self.coloured) {
            (true, true) => output::line(format_args!("\n\x1b[1m{what}\x1b[0m")),
            (true, false) => output::line(format_args!("\n{what}")),
            (false, _) => {}
        }
    }

    fn add(&mut self, finding: Finding) {
        if let Some(step) = self.report.steps.last_mut() {
            step.findings.push(finding);
        }
    }

    /// To the tenth.
    fn seconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }
}
