//! A rule and its counters: it counts the requests that match, and decides for which of them it
//! fires.
//!
//! It has no I/O: the time is an argument, and random choices come from a seed.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::rule_view::RuleView;
use super::spec::{Fault, RuleSpec, Trigger};

/// The effect on a request when a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Delay(Duration),
    End(Outcome),
}

/// How a request ends because of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Error(StatusCode),
    Drop,
    Vanish,
    Crash,
    Hang,
}

/// A rule, its counters and its random number generator.
pub struct Rule {
    pub id: u32,
    pub spec: RuleSpec,
    added_at: Instant,
    matched: u64,
    fired: u64,
    /// When the rule fired for the last time that `max_fires` allows.
    exhausted_at: Option<Instant>,
    random: StdRng,
}

impl Rule {
    #[must_use]
    pub fn new(id: u32, spec: RuleSpec, now: Instant) -> Self {
        let random = StdRng::seed_from_u64(spec.seed.unwrap_or_default().into());
        Self {
            id,
            spec,
            added_at: now,
            matched: 0,
            fired: 0,
            exhausted_at: None,
            random,
        }
    }

    /// Returns when the rule ended by its `ttl_seconds` or `max_fires`, if it has ended.
    #[must_use]
    pub fn ended_at(&self, now: Instant) -> Option<Instant> {
        let expired = self.expires_at().filter(|expiry| *expiry <= now);
        [self.exhausted_at, expired].into_iter().flatten().min()
    }

    fn expires_at(&self) -> Option<Instant> {
        let seconds = self.spec.ttl_seconds?;
        Some(self.added_at + Duration::from_secs(seconds.into()))
    }

    /// Counts a matching request. Returns what happens to it if the rule fires.
    pub fn evaluate(&mut self, now: Instant) -> Option<Effect> {
        self.matched += 1;
        if !self.fires() {
            return None;
        }
        self.fired += 1;
        if self.remaining_fires() == Some(0) {
            self.exhausted_at = Some(now);
        }
        Some(self.effect())
    }

    fn fires(&mut self) -> bool {
        match self.spec.trigger {
            Trigger::Always => true,
            Trigger::Probability(probability) => self.random.random_bool(probability),
            Trigger::Every { every, offset } => {
                self.matched % u64::from(every) == u64::from(offset.unwrap_or_default())
            }
        }
    }

    fn effect(&mut self) -> Effect {
        match self.spec.fault {
            Fault::Latency {
                delay_ms,
                jitter_ms,
            } => {
                let jitter = jitter_ms.unwrap_or_default();
                let range = delay_ms.saturating_sub(jitter)..=delay_ms + jitter;
                Effect::Delay(Duration::from_millis(
                    self.random.random_range(range).into(),
                ))
            }
            Fault::Error { status } => Effect::End(Outcome::Error(status)),
            Fault::Drop => Effect::End(Outcome::Drop),
            Fault::Vanish => Effect::End(Outcome::Vanish),
            Fault::Crash => Effect::End(Outcome::Crash),
            Fault::Hang => Effect::End(Outcome::Hang),
        }
    }

    fn remaining_fires(&self) -> Option<u64> {
        let max = self.spec.max_fires?;
        Some(u64::from(max).saturating_sub(self.fired))
    }

    #[must_use]
    pub fn view(&self, now: Instant) -> RuleView {
        let active = self.ended_at(now).is_none();
        let remaining_seconds = self.expires_at().map(|expiry| {
            let remaining = if active {
                expiry.saturating_duration_since(now)
            } else {
                Duration::ZERO
            };
            (remaining.as_secs_f64() * 10.0).round() / 10.0
        });
        RuleView {
            id: self.id,
            spec: self.spec.clone(),
            active,
            matched: self.matched,
            fired: self.fired,
            remaining_seconds,
            remaining_fires: self.remaining_fires(),
        }
    }
}
