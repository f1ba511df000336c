//! The state of the gremlin: its latency switch and its rules.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exempt::ExemptRoutes;
use super::metrics::GremlinMetrics;
use super::rule::{self, Direction, MOST_DELAY_MS, RuleSpec, RuleView, Subject, USUAL_DELAY_MS};
use super::rules::{Faults, Rules};
use crate::platform::http::extract::{Fields, FromFields, boolean, integer};
use crate::platform::observability::trace_context;

/// The rules that fired last whose counts stay among the metrics: a bound for their labels.
const SERIES: usize = 96;

/// Whether and for whom there is a gremlin.
#[derive(Debug, Clone)]
pub struct Config {
    pub enabled: bool,
    pub token: Option<String>,
}

impl Config {
    /// Whoever reaches the port can break the service.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.enabled && self.token.is_none()
    }
}

/// `POST /gremlin/latency` and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    pub enabled: bool,
    /// 3000 when absent.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 60000, example = 3000)]
    pub delay_ms: i32,
}

impl FromFields for Latency {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            enabled: fields.required("enabled", boolean),
            delay_ms: fields
                .optional("delay_ms", integer(0..=MOST_DELAY_MS))
                .unwrap_or(USUAL_DELAY_MS),
        }
    }
}

impl Latency {
    fn delay(self) -> Option<Duration> {
        let milliseconds = u64::try_from(self.delay_ms).unwrap_or_default();
        self.enabled.then(|| Duration::from_millis(milliseconds))
    }
}

/// What is being broken now, shared by all threads of the process.
#[derive(Clone)]
pub struct Gremlin {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// Nothing is set, so that a request need not ask for the lock.
    calm: AtomicBool,
    state: Mutex<State>,
    metrics: GremlinMetrics,
    exempt: ExemptRoutes,
}

struct State {
    latency: Latency,
    rules: Rules,
    /// Rules that have a series among the metrics, the oldest first.
    series: VecDeque<(u32, rule::Kind)>,
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
            delay_ms: USUAL_DELAY_MS,
        };
        let state = Mutex::new(State {
            latency,
            rules: Rules::default(),
            series: VecDeque::new(),
        });
        Self {
            shared: Arc::new(Shared {
                config,
                calm: AtomicBool::new(true),
                state,
                metrics,
                exempt,
            }),
        }
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.calm.load(Ordering::Relaxed)
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
        self.settle(&state, Instant::now());
        drop(state);
        self.changed(if latency.enabled {
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
    /// When the rule names a route that is exempt, or there are too many rules.
    pub fn add(&self, spec: RuleSpec) -> Result<RuleView, AddError> {
        let names_exempt_route = spec
            .route
            .as_deref()
            .is_some_and(|route| self.is_exempt(route));
        if spec.direction == Direction::Inbound && names_exempt_route {
            return Err(AddError::ExemptRoute);
        }
        let now = Instant::now();
        let mut state = self.state();
        let view = state.rules.add(spec, now).ok_or(AddError::TooManyRules)?;
        self.settle(&state, now);
        drop(state);
        self.changed("rule-added");
        let spec = serde_json::to_string(&view.spec).unwrap_or_default();
        tracing::warn!(
            rule = view.id,
            kind = view.spec.kind.as_str(),
            spec,
            "gremlin rule added"
        );
        Ok(view)
    }

    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        self.state().rules.views(Instant::now())
    }

    /// Whether there was such a rule.
    #[must_use]
    pub fn remove(&self, id: u32) -> bool {
        let mut state = self.state();
        let Some(spec) = state.rules.remove(id) else {
            return false;
        };
        self.settle(&state, Instant::now());
        drop(state);
        self.changed("rule-removed");
        tracing::warn!(rule = id, kind = spec.kind.as_str(), "gremlin rule removed");
        true
    }

    /// Returns how many there were.
    pub fn clear(&self) -> usize {
        let mut state = self.state();
        let removed = state.rules.clear();
        self.settle(&state, Instant::now());
        drop(state);
        self.changed("rules-cleared");
        tracing::warn!(removed, "gremlin rules cleared");
        removed
    }

    /// Called with every change, and when a rule may have ended by itself.
    fn settle(&self, state: &State, now: Instant) {
        let active = state.rules.active(now);
        self.shared
            .calm
            .store(active == 0 && !state.latency.enabled, Ordering::Relaxed);
        let metrics = &self.shared.metrics;
        metrics.rules.set(i64::try_from(active).unwrap_or(i64::MAX));
        metrics
            .latency_seconds
            .set(state.latency.delay().unwrap_or_default().as_secs_f64());
    }

    fn changed(&self, change: &str) {
        self.shared
            .metrics
            .changes
            .with_label_values(&[change])
            .inc();
    }

    pub(super) fn asks_for_product(&self, subject: Subject<'_>) -> bool {
        self.state().rules.ask_for_product(subject, Instant::now())
    }

    /// What is done to a request; counted, logged and noted in the current span.
    pub(super) fn meet(&self, subject: Subject<'_>, product_id: Option<&str>) -> Faults {
        let now = Instant::now();
        let mut state = self.state();
        let mut faults = state.rules.meet(subject, product_id, now);
        let switched = state
            .latency
            .delay()
            .filter(|_| subject.direction == Direction::Inbound);
        faults.delay += switched.unwrap_or_default();
        for (id, kind) in &faults.fired {
            self.keep_series(&mut state.series, *id, *kind);
        }
        self.settle(&state, now);
        drop(state);
        self.tell(subject, &faults, switched.is_some());
        faults
    }

    fn keep_series(&self, series: &mut VecDeque<(u32, rule::Kind)>, id: u32, kind: rule::Kind) {
        if !series.contains(&(id, kind)) {
            series.push_back((id, kind));
        }
        if series.len() > SERIES
            && let Some((id, kind)) = series.pop_front()
        {
            // It can only be missing, which is what is wanted.
            let _ = self
                .shared
                .metrics
                .faults
                .remove_label_values(&[&id.to_string(), kind.as_str()]);
        }
    }

    fn tell(&self, subject: Subject<'_>, faults: &Faults, switched: bool) {
        let rules = faults
            .fired
            .iter()
            .map(|(id, kind)| (id.to_string(), kind.as_str()));
        let switch = switched.then(|| ("switch".to_owned(), rule::Kind::Latency.as_str()));
        let mut struck = Vec::new();
        for (rule, kind) in rules.chain(switch) {
            self.shared
                .metrics
                .faults
                .with_label_values(&[&rule, kind])
                .inc();
            let Subject {
                direction,
                method,
                route,
                ..
            } = subject;
            tracing::warn!(rule, kind, %direction, method, route, "gremlin fault injected");
            struck.push(format!("{rule}:{kind}"));
        }
        if !struck.is_empty() {
            trace_context::annotate("valerix.gremlin", struck.join(","));
        }
    }
}
