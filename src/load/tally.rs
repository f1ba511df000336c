//! Counts the answers of a step, and measures their latency.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answers::{NO_ANSWER, NOT_AWAITED};
use super::report::{Latency, Step};

/// Digits of precision of a latency: an error of at most 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

pub struct Tally {
    answers: BTreeMap<String, u64>,
    /// Microseconds of answers other than 5xx.
    decided: Histogram<u64>,
    /// Microseconds of 503 answers.
    refused: Histogram<u64>,
}

impl Tally {
    pub fn new(timeout: Duration) -> Self {
        Self {
            answers: BTreeMap::new(),
            decided: histogram(timeout),
            refused: histogram(timeout),
        }
    }

    /// Counts an order. `status` is `None` if there was no answer in time.
    pub fn count(&mut self, status: Option<u16>, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        match status {
            Some(503) => self.refused.saturating_record(micros),
            Some(status) if status < 500 => self.decided.saturating_record(micros),
            _ => {}
        }
        let name = status.map_or_else(|| NO_ANSWER.to_owned(), |status| status.to_string());
        *self.answers.entry(name).or_default() += 1;
    }

    /// The result of a step in which `sent` orders were sent. Orders that were not counted are
    /// reported if the step was stopped early.
    pub fn step(&self, rate: u32, sent: u64, duration: Duration, stopped: bool) -> Step {
        let mut answers = self.answers.clone();
        let not_awaited = sent.saturating_sub(answers.values().sum());
        if stopped && not_awaited > 0 {
            answers.insert(NOT_AWAITED.to_owned(), not_awaited);
        }
        let seconds = duration.as_secs_f64();
        Step {
            rate,
            sent,
            seconds: (seconds * 10.0).round() / 10.0,
            goodput: (to_f64(self.decided.len()) / seconds * 10.0).round() / 10.0,
            answers,
            latency: percentiles(&self.decided),
            refused: percentiles(&self.refused),
        }
    }
}

fn histogram(max: Duration) -> Histogram<u64> {
    let max_micros = u64::try_from(max.as_micros()).unwrap_or(u64::MAX).max(2);
    Histogram::new_with_bounds(1, max_micros, SIGNIFICANT_DIGITS)
        .expect("the bounds are in order, and the precision is allowed")
}

fn percentiles(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    // Rounded to a hundredth.
    let ms = |micros: u64| (to_f64(micros) / 10.0).round() / 100.0;
    Latency {
        p50_ms: ms(histogram.value_at_quantile(0.5)),
        p90_ms: ms(histogram.value_at_quantile(0.9)),
        p99_ms: ms(histogram.value_at_quantile(0.99)),
        max_ms: ms(histogram.max()),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "fewer than 2^52 orders or microseconds"
)]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_5xx_or_no_answer_is_counted_but_is_no_goodput() {
        let mut tally = Tally::new(10 * SECOND);
        for status in [Some(201), Some(202), Some(409), Some(500), Some(503), None] {
            tally.count(status, SECOND);
        }
        let step = tally.step(6, 6, 2 * SECOND, false);
        assert_eq!(step.answers.values().sum::<u64>(), 6);
        assert_eq!((step.answers["none"], step.goodput), (1, 1.5));
        assert!((step.latency.p50_ms - 1000.0).abs() < 1.0, "{step:?}");
        assert!((step.refused.max_ms - 1000.0).abs() < 1.0, "{step:?}");
    }

    #[test]
    fn orders_whose_answer_was_not_awaited_are_reported_after_a_stop() {
        let mut tally = Tally::new(SECOND);
        tally.count(Some(201), SECOND);
        assert_eq!(tally.step(3, 3, SECOND, true).answers["broken-off"], 2);
        assert!(
            !tally
                .step(3, 3, SECOND, false)
                .answers
                .contains_key("broken-off")
        );
    }
}
