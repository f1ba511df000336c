//! The report of a tour.

use std::fmt;

use serde::Serialize;

use crate::api::story::Captions;
use crate::platform::plural::count;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub passed: bool,
    /// The number of checks that were judged.
    pub checks: usize,
    /// The number of failed checks.
    pub failures: usize,
    pub orders: OrderCounts,
    /// Where the dashboard shows the same orders.
    pub dashboard: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub captions: Captions,
    pub findings: Vec<Finding>,
}

impl Report {
    /// The result of the tour, in one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let (chapters, checks, failures) = (self.steps.len(), self.checks, self.failures);
        let OrderCounts {
            taken,
            finished,
            lost,
            charged_twice,
        } = self.orders;
        let checks = match failures {
            0 => format!("{checks} checks hold"),
            _ => format!("{failures} of {checks} checks failed"),
        };
        let findings = self.steps.iter().flat_map(|step| &step.findings);
        let not_judged = findings.filter(|finding| finding.is_not_judged()).count();
        let checks = match not_judged {
            0 => checks,
            _ => format!("{checks} ({not_judged} could not be judged)"),
        };
        format!(
            "{}, {checks}: {} taken, {finished} finished, {lost} lost, {charged_twice} charged \
             twice.",
            count(chapters, "chapter"),
            count(taken, "order")
        )
    }
}

/// The result of a check, or a remark.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Since the start of the tour.
    pub seconds: f64,
    /// The check that was made. Absent for a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Absent for a remark, and for a check that could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    pub found: String,
}

/// Counts of the orders that the story placed, by their outcome.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct OrderCounts {
    pub taken: usize,
    pub finished: usize,
    /// Taken, and not known to the platform afterwards.
    pub lost: usize,
    /// New violations of `one-payment-per-order`.
    pub charged_twice: u64,
}

impl fmt::Display for OrderCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            finished,
            lost,
            ..
        } = self;
        write!(f, "{taken} taken, {finished} finished, {lost} lost")
    }
}

impl Finding {
    const fn is_not_judged(&self) -> bool {
        self.check.is_some() && self.passed.is_none()
    }
}

impl Step {
    /// Judges the claim of the step by its checks.
    pub fn verdict(&self) -> StepVerdict {
        let checks = self
            .findings
            .iter()
            .filter(|finding| finding.check.is_some());
        let (mut failed, mut not_judged) = (0, 0);
        for check in checks {
            failed += usize::from(check.passed == Some(false));
            not_judged += usize::from(check.is_not_judged());
        }
        match (failed, not_judged) {
            (0, 0) => StepVerdict::Proved,
            (0, not_judged) => StepVerdict::NotJudged(not_judged),
            (failed, _) => StepVerdict::Failed(failed),
        }
    }
}

/// Whether a step has proved its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepVerdict {
    Proved,
    /// The number of failed checks.
    Failed(usize),
    /// No check failed, and this many could not be judged.
    NotJudged(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::story::STORY;

    fn step(results: &[Option<bool>]) -> Step {
        let finding = |passed: &Option<bool>| Finding {
            seconds: 0.0,
            check: Some("the SLA light".to_owned()),
            passed: *passed,
            found: String::new(),
        };
        Step {
            captions: STORY.chapters[0].captions,
            findings: results.iter().map(finding).collect(),
        }
    }

    #[test]
    fn a_claim_is_proved_only_if_every_check_was_judged_and_passed() {
        let proved = step(&[Some(true), Some(true)]);
        assert_eq!(proved.verdict(), StepVerdict::Proved);
        let open = step(&[Some(true), None]);
        assert_eq!(open.verdict(), StepVerdict::NotJudged(1));
        let failed = step(&[Some(false), None]);
        assert_eq!(failed.verdict(), StepVerdict::Failed(1));
    }

    #[test]
    fn the_summary_counts_the_checks_that_could_not_be_judged() {
        let report = Report {
            checks: 52,
            steps: vec![step(&[Some(true), None])],
            orders: OrderCounts {
                taken: 31,
                finished: 31,
                ..OrderCounts::default()
            },
            ..Report::default()
        };
        assert_eq!(
            report.summary(),
            "1 chapter, 52 checks hold (1 could not be judged): 31 orders taken, 31 finished, \
             0 lost, 0 charged twice."
        );
    }
}
