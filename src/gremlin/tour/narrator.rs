//! Prints what the tour does, and collects what it finds.

use std::fmt::Display;
use std::io;
use std::time::Instant;

use serde_json::json;

use super::pause::Pause;
use super::report::{Finding, Report, Step};
use crate::api::tour::{Chapter, DECLINED_PAYMENTS};
use crate::platform::client::BaseUrl;
use crate::platform::output;

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns before the text of a line: a label, or a time and a mark.
const INDENT: usize = 13;

/// Prints each step as it happens. For JSON, prints only the report, at the end.
pub struct Narrator {
    started: Instant,
    json: bool,
    coloured: bool,
    /// Between the steps, if the viewer wants it.
    pause: Option<Pause>,
    report: Report,
}

impl Narrator {
    pub fn new(json: bool, pause: Option<Pause>) -> Self {
        Self {
            started: Instant::now(),
            json,
            coloured: output::supports_colours(&io::stdout()),
            pause,
            report: Report::default(),
        }
    }

    /// Prints the dashboard's address and a note on declined payments, before the first step.
    pub fn introduce(&mut self, order_url: &BaseUrl, is_private: bool) {
        self.report.dashboard = format!("{order_url}/");
        if self.json {
            return;
        }
        if is_private {
            self.print_headline("No platform is running. This one was started for the tour.");
        }
        let dashboard = &self.report.dashboard;
        output::print_line(format_args!("Dashboard: {dashboard}"));
        for line in output::wrapped(DECLINED_PAYMENTS, WIDTH) {
            output::print_line(line);
        }
    }

    /// Ends the previous step, waits for the viewer if there is a pause, and starts the next step.
    pub async fn step(&mut self, chapter: Chapter) {
        self.end_step();
        if let Some(pause) = &mut self.pause
            && !self.report.steps.is_empty()
        {
            pause.wait().await;
        }
        self.print_headline(chapter.title);
        self.print_caption("Injected", chapter.injected);
        self.print_caption("Customer", chapter.customer_sees);
        self.print_caption("Platform", chapter.platform_does);
        self.report.steps.push(Step {
            chapter,
            findings: Vec::new(),
        });
    }

    /// Says what the step proved, if none of its checks failed.
    fn end_step(&self) {
        if let Some(step) = self.report.steps.last()
            && step
                .findings
                .iter()
                .all(|finding| finding.passed != Some(false))
        {
            self.print_caption("Proved", step.chapter.proved);
        }
    }

    /// Adds a remark to the present step.
    pub fn remark(&mut self, text: &str) {
        let seconds = self.seconds();
        if !self.json {
            print_wrapped(&format!("  {seconds:5.1} s    "), text);
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
            let start = format!("  {seconds:5.1} s  {mark} ");
            print_wrapped(&start, &format!("{check}: {found}"));
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
        self.end_step();
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

    fn print_caption(&self, label: &str, sentence: &str) {
        if !self.json {
            print_wrapped(&format!("  {label:<8}   "), sentence);
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

/// Prints a text after the start of its first line. The other lines are indented.
fn print_wrapped(start: &str, text: &str) {
    for (number, line) in output::wrapped(text, WIDTH - INDENT).iter().enumerate() {
        if number == 0 {
            output::print_line(format_args!("{start}{line}"));
        } else {
            output::print_line(format_args!("{:INDENT$}{line}", ""));
        }
    }
}
