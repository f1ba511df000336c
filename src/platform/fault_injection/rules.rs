//! All rules of a service: evaluates them in order, and limits their number. It has no I/O.

use std::time::{Duration, Instant};

use super::json::MAX_DELAY_MS;
use super::rule::{Effect, Outcome, Rule};
use super::rule_view::RuleView;
use super::spec::{GremlinKind, RequestView, RuleSpec};

/// Upper bound on the rules, including ended ones that are still shown.
pub const MAX_RULES: usize = 32;
/// How long a rule is shown after it has ended.
const ENDED_RULE_RETENTION: Duration = Duration::from_secs(60);

/// The decision of all rules about one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub delay: Duration,
    /// How the request ends, if a fault ends it.
    pub outcome: Option<Outcome>,
    /// The rules that fired, in the order in which they were added.
    pub fired: Vec<(u32, GremlinKind)>,
}

impl Decision {
    /// Waits for the delay, but at most for `max`. Without a delay it does not sleep at all,
    /// because the shortest sleep takes a millisecond.
    pub async fn wait(&self, max: Duration) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay.min(max)).await;
        }
    }
}

/// The rules of a service, in the order in which they were added.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    last_id: u32,
}

impl Rules {
    /// Adds a rule. If there are [`MAX_RULES`], it replaces one that has ended. Returns `None` if
    /// none has ended.
    pub fn add(&mut self, spec: RuleSpec, now: Instant) -> Option<RuleView> {
        self.remove_ended(now);
        if self.rules.len() >= MAX_RULES {
            let ended = self
                .rules
                .iter()
                .position(|rule| rule.ended_at(now).is_some())?;
            self.rules.remove(ended);
        }
        self.last_id += 1;
        let rule = Rule::new(self.last_id, spec, now);
        let view = rule.view(now);
        self.rules.push(rule);
        Some(view)
    }

    pub fn remove(&mut self, id: u32) -> Option<RuleSpec> {
        let position = self.rules.iter().position(|rule| rule.id == id)?;
        Some(self.rules.remove(position).spec)
    }

    /// Removes all rules. Returns how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.rules).len()
    }

    pub fn views(&mut self, now: Instant) -> Vec<RuleView> {
        self.remove_ended(now);
        self.rules.iter().map(|rule| rule.view(now)).collect()
    }

    fn remove_ended(&mut self, now: Instant) {
        self.rules.retain(|rule| {
            rule.ended_at(now)
                .is_none_or(|ended| now < ended + ENDED_RULE_RETENTION)
        });
    }

    /// Returns the number of rules that have not ended.
    #[must_use]
    pub fn active(&self, now: Instant) -> usize {
        self.rules
            .iter()
            .filter(|rule| rule.ended_at(now).is_none())
            .count()
    }

    /// Whether it depends on the product of this request which rules match.
    #[must_use]
    pub fn needs_product(&self, request: RequestView<'_>, now: Instant) -> bool {
        self.rules.iter().any(|rule| {
            rule.spec.target.product_id.is_some()
                && rule.spec.target.matches(request)
                && rule.ended_at(now).is_none()
        })
    }

    /// Evaluates the rules in the order in which they were added. Delays add up, to at most 60 s.
    /// The first fault of another kind decides how the request ends. After it, only latency
    /// rules are evaluated.
    pub fn evaluate(
        &mut self,
        request: RequestView<'_>,
        product_id: Option<&str>,
        now: Instant,
    ) -> Decision {
        let mut decision = Decision::default();
        for rule in &mut self.rules {
            let target = &rule.spec.target;
            let kind = rule.spec.fault.kind();
            let is_decided = decision.outcome.is_some() && kind != GremlinKind::Latency;
            if is_decided
                || rule.ended_at(now).is_some()
                || !target.matches(request)
                || !target.matches_product(product_id)
            {
                continue;
            }
            match rule.evaluate(now) {
                Some(Effect::Delay(delay)) => decision.delay += delay,
                Some(Effect::End(outcome)) => decision.outcome = Some(outcome),
                None => continue,
            }
            decision.fired.push((rule.id, kind));
        }
        decision.delay = decision
            .delay
            .min(Duration::from_millis(MAX_DELAY_MS.into()));
        decision
    }
}
