//! Limits on the results of a load, and whether each rate kept them.

use std::fmt;
use std::str::FromStr;

use super::answers::NOT_AWAITED;
use super::judgement::Judgement;
use super::report::Step;
use super::tally::to_f64;
use crate::platform::plural::count;

/// Statuses that an order may end with, or be accepted with. Any other status is an error.
const OUTCOMES: [&str; 5] = ["201", "202", "402", "409", "422"];

/// The limits. Each rate must keep each of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thresholds {
    pub max_p99_ms: Option<u64>,
    pub max_errors: Option<ErrorLimit>,
}

/// The maximum number of orders with an error: without an answer in time, or with a status that is
/// no outcome of an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ErrorLimit {
    Count(u64),
    /// Of the orders sent, from 0 to 100.
    Percent(f64),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number of orders, such as 5, or a percentage from 0% to 100%, such as 0.5%")]
pub struct InvalidErrorLimit;

impl FromStr for ErrorLimit {
    type Err = InvalidErrorLimit;

    fn from_str(text: &str) -> Result<Self, InvalidErrorLimit> {
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Self::Count).map_err(|_| InvalidErrorLimit);
        };
        let percent = percent.trim_end().parse().ok();
        let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
        percent.map(Self::Percent).ok_or(InvalidErrorLimit)
    }
}

impl fmt::Display for ErrorLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Thresholds {
    /// Compares the results of each rate with each limit.
    #[must_use]
    pub fn judge(&self, steps: &[Step]) -> Vec<Judgement> {
        let of_step = |step| {
            let latency = self.max_p99_ms.map(|limit| judge_p99(step, limit));
            let errors = self.max_errors.map(|limit| judge_errors(step, limit));
            latency.into_iter().chain(errors)
        };
        steps.iter().flat_map(of_step).collect()
    }
}

fn judge_p99(step: &Step, limit: u64) -> Judgement {
    let (p99, max) = (step.latency.p99_ms, to_f64(limit));
    // Without such an answer the percentiles are zeros, which must not pass.
    let has_answers = step.answers.iter().any(|(status, count)| {
        *count > 0 && status.parse::<u16>().is_ok_and(|status| status < 500)
    });
    let kept = has_answers && p99 <= max;
    let found = if !has_answers {
        format!("no order got an answer other than 5xx, so --max-p99-ms {limit} is not met")
    } else if kept {
        format!("p99 {p99:.2} ms, within --max-p99-ms {limit}")
    } else {
        format!(
            "p99 {p99:.2} ms, {:.2} ms above --max-p99-ms {limit}",
            p99 - max
        )
    };
    Judgement {
        threshold: "max-p99-ms",
        rate: step.rate,
        kept,
        found,
    }
}

fn judge_errors(step: &Step, limit: ErrorLimit) -> Judgement {
    let is_error = |status: &str| !OUTCOMES.contains(&status) && status != NOT_AWAITED;
    let answers = step.answers.iter();
    let errors: u64 = answers
        .filter(|(status, _)| is_error(status))
        .map(|(_, count)| count)
        .sum();
    let sent = step.sent;
    let percent = to_f64(errors) * 100.0 / to_f64(sent.max(1));
    let (kept, excess) = match limit {
        ErrorLimit::Count(max) => (errors <= max, errors.saturating_sub(max).to_string()),
        // Both sides are rounded once, from exact numbers, so that 0.57 % of 10,000 is not above
        // 0.57%. A product of the limit would be rounded a second time.
        ErrorLimit::Percent(max) => (percent <= max, format!("{} points", Rounded(percent - max))),
    };
    let measured = format!(
        "{} in {} ({}%)",
        count(errors, "error"),
        count(sent, "order"),
        Rounded(percent)
    );
    let found = if kept {
        format!("{measured}, within --max-errors {limit}")
    } else {
        format!("{measured}, {excess} above --max-errors {limit}")
    };
    Judgement {
        threshold: "max-errors",
        rate: step.rate,
        kept,
        found,
    }
}

/// Two decimals, or as many as show that a small number is not zero.
struct Rounded(f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 0.0 && self.0 < 0.01 {
            write!(f, "{:.6}", self.0)
        } else {
            write!(f, "{:.2}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tally::Tally;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A step in which each order was answered after 100 ms.
    fn step(answers: &[(Option<u16>, u32)]) -> Step {
        let mut tally = Tally::new(10 * SECOND);
        let mut sent = 0;
        for (status, count) in answers {
            for _ in 0..*count {
                tally.count(*status, Duration::from_millis(100));
                sent += 1;
            }
        }
        tally.step(50, sent, SECOND, false)
    }

    fn judge(thresholds: Thresholds, step: Step) -> Judgement {
        thresholds.judge(&[step]).pop().unwrap()
    }

    fn errors(limit: &str, step: Step) -> Judgement {
        let thresholds = Thresholds {
            max_errors: Some(limit.parse().unwrap()),
            ..Thresholds::default()
        };
        judge(thresholds, step)
    }

    #[test]
    fn a_declined_or_pending_order_is_no_error_but_a_5xx_or_no_answer_is() {
        let outcomes = [201, 202, 402, 409, 422].map(|status| (Some(status), 1));
        assert!(errors("0", step(&outcomes)).kept);
        for status in [Some(500), Some(503), Some(404), None] {
            let judgement = errors("0", step(&[(Some(201), 9), (status, 1)]));
            assert!(!judgement.kept, "{status:?}: {judgement}");
        }
    }

    #[test]
    fn a_limit_on_errors_is_kept_when_it_is_just_reached() {
        let of_1000 = |count| step(&[(Some(201), 1000 - count), (Some(500), count)]);
        for (limit, count, kept) in [
            ("7", 7, true),
            ("7", 8, false),
            ("0.7%", 7, true),
            ("0.7%", 8, false),
            ("100%", 1000, true),
            ("0%", 1, false),
        ] {
            assert_eq!(errors(limit, of_1000(count)).kept, kept, "{limit}, {count}");
        }
        let of_10_000 = |count| step(&[(Some(201), 10_000 - count), (Some(500), count)]);
        for (limit, count) in [("0.57%", 57), ("0.69%", 69), ("1.13%", 113)] {
            assert!(errors(limit, of_10_000(count)).kept, "{limit}");
            assert!(!errors(limit, of_10_000(count + 1)).kept, "{limit}");
        }
        assert_eq!(
            errors("0.5%", of_1000(8)).to_string(),
            "✗     50/s  8 errors in 1000 orders (0.80%), 0.30 points above --max-errors 0.5%"
        );
    }

    #[test]
    fn a_p99_above_its_limit_is_reported_with_the_excess() {
        let p99 = |limit| Thresholds {
            max_p99_ms: Some(limit),
            ..Thresholds::default()
        };
        assert!(judge(p99(101), step(&[(Some(201), 5)])).kept);
        let judgement = judge(p99(60), step(&[(Some(201), 5)]));
        assert!(!judgement.kept && judgement.found.contains("ms above --max-p99-ms 60"));
    }

    #[test]
    fn a_limit_on_the_p99_is_not_kept_without_answers() {
        let thresholds = Thresholds {
            max_p99_ms: Some(60_000),
            ..Thresholds::default()
        };
        let judgement = judge(thresholds, step(&[(Some(503), 3), (None, 2)]));
        assert!(!judgement.kept, "{judgement}");
    }

    #[test]
    fn limits_on_errors_are_numbers_or_percentages() {
        assert_eq!("5".parse(), Ok(ErrorLimit::Count(5)));
        assert_eq!("0.5 %".parse(), Ok(ErrorLimit::Percent(0.5)));
        for wrong in ["", "%", "-1", "1.5", "101%", "-1%", "NaN%", "five"] {
            assert_eq!(
                wrong.parse::<ErrorLimit>(),
                Err(InvalidErrorLimit),
                "{wrong}"
            );
        }
    }
}
