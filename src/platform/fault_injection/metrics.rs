//! The metrics of the gremlin.

use prometheus::{Gauge, IntCounterVec, IntGauge};

use crate::platform::observability::metrics::Registry;

/// The metrics of the gremlin.
pub struct GremlinMetrics {
    /// Delay that the latency switch adds to each response; 0 while it is off.
    pub latency_seconds: Gauge,
    /// Rules that have not ended.
    pub rules: IntGauge,
    /// Changes of the switch and the rules, by kind: switch-on, switch-off, rule-added,
    /// rule-removed, rules-cleared.
    pub changes: IntCounterVec,
    /// Injected faults by rule and kind. The label `rule` of the latency switch is `switch`.
    pub faults: IntCounterVec,
}

impl GremlinMetrics {
    /// # Errors
    /// When the registry already has these metrics.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            latency_seconds: registry.seconds(
                "valerix_gremlin_latency_seconds",
                "Delay that the gremlin's latency switch adds to each response; 0 while it is off.",
            )?,
            rules: registry.gauge(
                "valerix_gremlin_rules",
                "Rules of the gremlin that have not ended.",
            )?,
            changes: registry.counters(
                "valerix_gremlin_changes_total",
                "Changes of the gremlin's switch and rules.",
                &["change"],
            )?,
            faults: registry.counters(
                "valerix_gremlin_faults_total",
                "Faults that the gremlin injected, by rule.",
                &["rule", "kind"],
            )?,
        })
    }
}
