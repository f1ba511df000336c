//! The state of the gremlin: its latency switch and its rules.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::config::Config;
use super::exempt::ExemptRoutes;
use super::json::DEFAULT_DELAY_MS;
use super::latency::Latency;
use super::metrics::GremlinMetrics;
use super::rule_view::RuleView;
use super::rules::{Decision, Rules};
use super::spec::{Direction, GremlinKind, RequestView, RuleSpec};
use crate::platform::observability::trace_context;

/// Upper bound on the pairs of a rule and a kind with a series in the metrics. The oldest series is
/// removed for a new one, so that the number of series is bounded.
const MAX_SERIES: usize = 96;

/// The faults that a service injects. Clones share them, in all threads of the process.
#[derive(Clone)]
pub struct Gremlin {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// There is no fault to inject. It saves each request the lock of `state`.
    is_idle: AtomicBool,
    state: Mutex<State>,
    metrics: GremlinMetrics,
    exempt: ExemptRoutes,
}

struct State {
    latency: Latency,
    rules: Rules,
    /// The series in the metrics, the oldest first.
    series: VecDeque<(u32, GremlinKind)>,
}

/// Why a rule was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddError {
    ExemptRoute,
    TooManyRules,
}

impl Gremlin {
    #[must_use]
    pub fn new(config: Config, metrics: GremlinMetrics, exempt: ExemptRoutes) -> Self {
        let latency = Latency {
            enabled: false,
            delay_ms: DEFAULT_DELAY_MS,
        };
        let state = Mutex::new(State {
            latency,
            rules: Rules::default(),
            series: VecDeque::new(),
        });
        Self {
            shared: Arc::new(Shared {
                config,
                is_idle: AtomicBool::new(true),
                state,
                metrics,
                exempt,
            }),
        }
    }

    /// Whether there is no fault to inject.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.is_idle.load(Ordering::Relaxed)
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(super) fn is_exempt(&self, path: &str) -> bool {
        self.shared.exempt.contains(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn latency(&self) -> Latency {
        self.state().latency
    }

    pub fn set_latency(&self, latency: Latency) {
        let mut state = self.state();
        state.latency = latency;
        self.refresh(&state, Instant::now());
        drop(state);
        self.count_change(if latency.enabled {
            "switch-on"
        } else {
            "switch-off"
        });
        tracing::warn!(
            enabled = latency.enabled,
            delay_ms = latency.delay_ms,
            "gremlin latency switched"
        );
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// When the rule names an exempt route, or there are too many rules.
    pub fn add(&self, spec: RuleSpec) -> Result<RuleView, AddError> {
        let names_exempt_route = spec
            .target
            .route
            .as_deref()
            .is_some_and(|route| self.is_exempt(route));
        if spec.target.direction == Direction::Inbound && names_exempt_route {
            return Err(AddError::ExemptRoute);
        }
        let now = Instant::now();
        let mut state = self.state();
        let view = state.rules.add(spec, now).ok_or(AddError::TooManyRules)?;
        self.refresh(&state, now);
        drop(state);
        self.count_change("rule-added");
        let spec = serde_json::to_string(&view.spec).unwrap_or_default();
        tracing::warn!(
            rule = view.id,
            kind = view.spec.fault.kind().as_str(),
            spec,
            "gremlin rule added"
        );
        Ok(view)
    }

    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        self.state().rules.views(Instant::now())
    }

    /// Removes a rule. Returns whether there is one with this id.
    #[must_use]
    pub fn remove(&self, id: u32) -> bool {
        let mut state = self.state();
        let Some(spec) = state.rules.remove(id) else {
            return false;
        };
        self.refresh(&state, Instant::now());
        drop(state);
        self.count_change("rule-removed");
        tracing::warn!(
            rule = id,
            kind = spec.fault.kind().as_str(),
            "gremlin rule removed"
        );
        true
    }

    /// Removes all rules. Returns how many there were.
    pub fn clear(&self) -> usize {
        let mut state = self.state();
        let removed = state.rules.clear();
        self.refresh(&state, Instant::now());
        drop(state);
        self.count_change("rules-cleared");
        tracing::warn!(removed, "gremlin rules cleared");
        removed
    }

    /// Updates `is_idle` and the metrics. Must be called after each change, and when a rule may
    /// have ended.
    fn refresh(&self, state: &State, now: Instant) {
        let active = state.rules.active(now);
        self.shared
            .is_idle
            .store(active == 0 && !state.latency.enabled, Ordering::Relaxed);
        let metrics = &self.shared.metrics;
        metrics.rules.set(i64::try_from(active).unwrap_or(i64::MAX));
        metrics
            .latency_seconds
            .set(state.latency.delay().unwrap_or_default().as_secs_f64());
    }

    fn count_change(&self, change: &str) {
        self.shared
            .metrics
            .changes
            .with_label_values(&[change])
            .inc();
    }

    /// Whether a rule for this request also depends on its product.
    pub(super) fn needs_product(&self, request: RequestView<'_>) -> bool {
        self.state().rules.needs_product(request, Instant::now())
    }

    /// Decides what happens to a request. Counts and logs the faults, and adds them to the current
    /// span.
    pub(super) fn evaluate(&self, request: RequestView<'_>, product_id: Option<&str>) -> Decision {
        let now = Instant::now();
        let mut state = self.state();
        let mut decision = state.rules.evaluate(request, product_id, now);
        let switch_delay = state
            .latency
            .delay()
            .filter(|_| request.direction == Direction::Inbound);
        decision.delay += switch_delay.unwrap_or_default();
        for (id, kind) in &decision.fired {
            self.keep_series(&mut state.series, *id, *kind);
        }
        self.refresh(&state, now);
        drop(state);
        self.report(request, &decision, switch_delay.is_some());
        decision
    }

    /// Makes room for a series before it is counted.
    fn keep_series(&self, series: &mut VecDeque<(u32, GremlinKind)>, id: u32, kind: GremlinKind) {
        if !series.contains(&(id, kind)) {
            series.push_back((id, kind));
        }
        if series.len() > MAX_SERIES
            && let Some((id, kind)) = series.pop_front()
        {
            // Fails only if the series does not exist.
            let _ = self
                .shared
                .metrics
                .faults
                .remove_label_values(&[&id.to_string(), kind.as_str()]);
        }
    }

    /// Counts and logs the faults, and adds them to the current span.
    fn report(&self, request: RequestView<'_>, decision: &Decision, is_switched_on: bool) {
        let rules = decision
            .fired
            .iter()
            .map(|(id, kind)| (id.to_string(), kind.as_str()));
        let switch = is_switched_on.then(|| ("switch".to_owned(), GremlinKind::Latency.as_str()));
        let mut fired = Vec::new();
        for (rule, kind) in rules.chain(switch) {
            self.shared
                .metrics
                .faults
                .with_label_values(&[&rule, kind])
                .inc();
            let RequestView {
                direction,
                method,
                route,
                ..
            } = request;
            tracing::warn!(rule, kind, %direction, method, route, "gremlin fault injected");
            fired.push(format!("{rule}:{kind}"));
        }
        if !fired.is_empty() {
            trace_context::set_attribute("valerix.gremlin", fired.join(","));
        }
    }
}
