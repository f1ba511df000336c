//! Prints what the tour does, and collects what it finds.

use std::fmt::Display;
use std::io;
use std::time::Instant;

use serde_json::json;

use super::report::{Finding, Report, Step};
use crate::platform::output;

/// Prints each step as it happens. For JSON, prints only the report, at the end.
pub struct Narrator {
    started: Instant,
    json: bool,
    coloured: bool,
    report: Report,
}

impl Narrator {
    pub fn new(json: bool) -> Self {
        Self {
            started: Instant::now(),
            json,
            coloured: output::supports_colours(&io::stdout()),
            report: Report::default(),
        }
    }

    /// Starts a step.
    pub fn step(&mut self, title: &str) {
        self.print_headline(title);
        self.report.steps.push(Step {
            title: title.to_owned(),
            findings: Vec::new(),
        });
    }

    /// Adds a remark to the present step.
    pub fn remark(&mut self, text: &str) {
        let seconds = self.seconds();
        if !self.json {
            output::print_line(format_args!("  {seconds:5.1} s    {text}"));
        }
        self.add(Finding {
            seconds,
            check: None,
            passed: None,
            found: text.to_owned(),
        });
    }

    /// Adds the result of a check to the present step.
    pub fn check(&mut self, check: &str, passed: bool, found: impl Display) {
        self.report.checks += 1;
        self.report.failures += usize::from(!passed);
        let seconds = self.seconds();
        if !self.json {
            let mark = self.mark(passed);
            output::print_line(format_args!("  {seconds:5.1} s  {mark} {check}: {found}"));
        }
        self.add(Finding {
            seconds,
            check: Some(check.to_owned()),
            passed: Some(passed),
            found: found.to_string(),
        });
    }

    /// Prints the verdict, or the report as JSON, and returns the report.
    pub fn finish(mut self) -> Report {
        self.report.passed = self.report.failures == 0;
        let (checks, failures) = (self.report.checks, self.report.failures);
        if self.report.passed {
            self.print_headline(&format!("All {checks} checks passed."));
        } else {
            self.print_headline(&format!("{failures} of {checks} checks failed."));
        }
        if self.json {
            output::print_line(format_args!("{:#}", json!(self.report)));
        }
        self.report
    }

    const fn mark(&self, passed: bool) -> &'static str {
        match (passed, self.coloured) {
            (true, true) => "\x1b[32m✓\x1b[0m",
            (true, false) => "✓",
            (false, true) => "\x1b[31m✗\x1b[0m",
            (false, false) => "✗",
        }
    }

    fn print_headline(&self, text: &str) {
        match (self.json, self.coloured) {
            (false, true) => output::print_line(format_args!("\n\x1b[1m{text}\x1b[0m")),
            (false, false) => output::print_line(format_args!("\n{text}")),
            (true, _) => {}
        }
    }

    fn add(&mut self, finding: Finding) {
        if let Some(step) = self.report.steps.last_mut() {
            step.findings.push(finding);
        }
    }

    /// Since the start of the tour, rounded to a tenth.
    fn seconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }
}
