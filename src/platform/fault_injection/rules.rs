//! The rules together: in which order they are tried, and how many there may be. Pure.

use std::time::{Duration, Instant};

use super::rule::{Effect, Ending, Kind, MOST_DELAY_MS, Rule, RuleSpec, RuleView, Subject};

/// Rules at once, at most.
pub const MOST_RULES: usize = 32;
/// For how long a rule that ended by itself is still shown.
const SHOW_ENDED: Duration = Duration::from_secs(60);

/// What is done to one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub delay: Duration,
    pub ending: Option<Ending>,
    /// The rules that fired, in their order.
    pub fired: Vec<(u32, Kind)>,
}

impl Faults {
    /// Waits for the delay, at most so long. Without one it does not wait at all: the shortest
    /// sleep is a millisecond.
    pub async fn wait(&self, most: Duration) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay.min(most)).await;
        }
    }
}

#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    last_id: u32,
}

impl Rules {
    /// Returns nothing, and changes nothing, when there are too many.
    pub fn add(&mut self, spec: RuleSpec, now: Instant) -> Option<RuleView> {
        self.forget_ended(now);
        if self.rules.len() >= MOST_RULES {
            let ended = self
                .rules
                .iter()
                .position(|rule| rule.ended(now).is_some())?;
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

    /// Returns how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.rules).len()
    }

    pub fn views(&mut self, now: Instant) -> Vec<RuleView> {
        self.forget_ended(now);
        self.rules.iter().map(|rule| rule.view(now)).collect()
    }

    fn forget_ended(&mut self, now: Instant) {
        self.rules
            .retain(|rule| rule.ended(now).is_none_or(|ended| now < ended + SHOW_ENDED));
    }

    #[must_use]
    pub fn active(&self, now: Instant) -> usize {
        self.rules
            .iter()
            .filter(|rule| rule.ended(now).is_none())
            .count()
    }

    /// Whether it matters which product such a request names.
    #[must_use]
    pub fn ask_for_product(&self, subject: Subject<'_>, now: Instant) -> bool {
        self.rules.iter().any(|rule| {
            rule.spec.product_id.is_some() && rule.covers(subject) && rule.ended(now).is_none()
        })
    }

    /// Tries the rules in the order in which they were added. Delays add up, to 60 s at the most;
    /// the first other fault decides how the request ends, and later rules of that sort are not
    /// tried.
    pub fn meet(&mut self, subject: Subject<'_>, product_id: Option<&str>, now: Instant) -> Faults {
        let mut faults = Faults::default();
        for rule in &mut self.rules {
            let decided = faults.ending.is_some() && rule.spec.kind != Kind::Latency;
            if decided
                || rule.ended(now).is_some()
                || !rule.covers(subject)
                || !rule.concerns(product_id)
            {
                continue;
            }
            match rule.meet(now) {
                Some(Effect::Delay(delay)) => faults.delay += delay,
                Some(Effect::End(ending)) => faults.ending = Some(ending),
                None => continue,
            }
            faults.fired.push((rule.id, rule.spec.kind));
        }
        let most = Duration::from_millis(u64::try_from(MOST_DELAY_MS).unwrap_or_default());
        faults.delay = faults.delay.min(most);
        faults
    }
}
