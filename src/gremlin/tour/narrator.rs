//! Prints what the tour does, and collects what it finds.

use std::fmt::Display;
use std::io;
use std::time::Instant;

use serde_json::json;

use super::pause::Pause;
use super::report::{Finding, OrderCounts, Report, Step, StepVerdict};
use super::verdict::Verdict;
use crate::api::story::{Captions, STORY};
use crate::platform::client::BaseUrl;
use crate::platform::output;
use crate::platform::plural::count;
use crate::platform::text_table::WIDTH;

/// Columns before the text of a line: a label, or a time and a mark.
const INDENT: usize = 13;

/// Prints each chapter as it happens. For JSON, prints only the report, at the end.
pub struct Narrator {
    started: Instant,
    json: bool,
    coloured: bool,
    /// Between the chapters, if the viewer wants it.
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

    /// Prints the dashboard's address and a note on declined payments, before the first chapter.
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
        for line in output::wrapped(STORY.introduction, WIDTH) {
            output::print_line(line);
        }
    }

    /// Ends the previous chapter, waits for the viewer if there is a pause, and starts the next
    /// chapter. The numbers are its position and the number of chapters.
    pub async fn begin_chapter(&mut self, (number, of): (usize, usize), captions: Captions) {
        self.end_chapter();
        if let Some(pause) = &mut self.pause
            && !self.report.steps.is_empty()
        {
            pause.wait().await;
        }
        self.print_headline(&format!("Chapter {number} of {of}: {}", captions.title));
        self.print_caption("Injected", captions.injected);
        self.print_caption("Customer", captions.customer_sees);
        self.print_caption("Platform", captions.platform_does);
        self.report.steps.push(Step {
            captions,
            findings: Vec::new(),
        });
    }

    /// Says what the chapter proved, or why it proved nothing.
    fn end_chapter(&self) {
        let Some(step) = self.report.steps.last() else {
            return;
        };
        match step.verdict() {
            StepVerdict::Proved => self.print_caption("Proved", step.captions.proved),
            StepVerdict::Failed(checks) => {
                self.print_caption("Failed", &format!("{} failed.", count(checks, "check")));
            }
            StepVerdict::NotJudged(_) => {
                self.print_caption("Open", "Nothing is proved: a check could not be judged.");
            }
        }
    }

    /// Adds a remark to the present chapter.
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

    /// Adds the result of a check to the present chapter.
    pub fn check(&mut self, check: &str, passed: bool, found: impl Display) {
        self.judge(check, Verdict::of(passed), found.to_string());
    }

    /// Adds the result of a check that may not be judged to the present chapter.
    pub fn judge(&mut self, check: &str, verdict: Verdict, found: String) {
        self.report.checks += usize::from(verdict != Verdict::NotJudged);
        self.report.failures += usize::from(verdict == Verdict::Failed);
        let seconds = self.seconds();
        if !self.json {
            let mark = self.mark(verdict);
            let start = format!("  {seconds:5.1} s  {mark} ");
            let suffix = match verdict {
                Verdict::NotJudged => " (not judged)",
                Verdict::Passed | Verdict::Failed => "",
            };
            print_wrapped(&start, &format!("{check}: {found}{suffix}"));
        }
        self.add(Finding {
            seconds,
            check: Some(check.to_owned()),
            passed: verdict.passed(),
            found,
        });
    }

    /// Records the counts of the story's orders, for the last line.
    pub const fn count_orders(&mut self, orders: OrderCounts) {
        self.report.orders = orders;
    }

    pub const fn count_charged_twice(&mut self, orders: u64) {
        self.report.orders.charged_twice = orders;
    }

    /// Prints the verdict, or the report as JSON, and returns the report.
    pub fn finish(mut self) -> Report {
        self.end_chapter();
        self.report.passed = self.report.failures == 0;
        if !self.json {
            output::print_line("");
            for line in output::wrapped(&self.report.summary(), WIDTH) {
                self.print_bold(&line);
            }
        }
        if self.json {
            output::print_line(format_args!("{:#}", json!(self.report)));
        }
        self.report
    }

    const fn mark(&self, verdict: Verdict) -> &'static str {
        match (verdict, self.coloured) {
            (Verdict::Passed, true) => "\x1b[32m✓\x1b[0m",
            (Verdict::Passed, false) => "✓",
            (Verdict::Failed, true) => "\x1b[31m✗\x1b[0m",
            (Verdict::Failed, false) => "✗",
            (Verdict::NotJudged, _) => "–",
        }
    }

    fn print_headline(&self, text: &str) {
        if !self.json {
            output::print_line("");
            self.print_bold(text);
        }
    }

    fn print_bold(&self, text: &str) {
        if self.coloured {
            output::print_line(format_args!("\x1b[1m{text}\x1b[0m"));
        } else {
            output::print_line(text);
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
