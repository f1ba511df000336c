//! Counts of orders and of their recovery.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::api::{Obligation, OrderStatus};
use crate::domain::saga::ChangeReason;
use crate::platform::observability::metrics::Registry;

/// The series of the order service.
pub struct OrderMetrics {
    /// Changes of an order's status, by the status reached and the reason.
    pub transitions: IntCounterVec,
    /// Attempts of the recovery worker by outcome: settled, waiting, fenced, error.
    pub recovery_attempts: IntCounterVec,
    /// Orders that are pending, or still owe a release, a refund or a shipment.
    pub unsettled: IntGauge,
    /// Age of the oldest pending order; 0 without one.
    pub oldest_pending_seconds: Gauge,
    /// Orders that have owed something for longer than the recovery bound, by what they owe.
    stuck: IntGaugeVec,
    /// Orders rejected with 503 because too many were in progress.
    pub rejected_by_overload: IntCounter,
    /// Requests answered from the stored order of their idempotency key.
    pub idempotent_replays: IntCounter,
    /// Old orders that were deleted.
    pub orders_left: IntCounter,
    /// Times that inventory or payment refused to delete its row of an old order.
    pub refused_to_forget: IntCounter,
}

impl OrderMetrics {
    /// # Errors
    /// When the registry has these series already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            transitions: registry.counters(
                "valerix_order_transitions_total",
                "Changes of an order's status, by the status reached and the reason.",
                &["status", "reason"],
            )?,
            recovery_attempts: registry.counters(
                "valerix_recovery_attempts_total",
                "Attempts of the recovery worker, by outcome.",
                &["outcome"],
            )?,
            unsettled: registry.gauge(
                "valerix_orders_unsettled",
                "Orders that are pending, or still owe a release, a refund or a shipment.",
            )?,
            oldest_pending_seconds: registry.seconds(
                "valerix_oldest_pending_order_seconds",
                "Age of the oldest pending order.",
            )?,
            stuck: registry.gauges(
                "valerix_orders_stuck",
                "Orders that have owed something for longer than the recovery bound, by what they \
                 owe.",
                &["owes"],
            )?,
            rejected_by_overload: registry.counter(
                "valerix_requests_shed_total",
                "Orders rejected because too many were in progress.",
            )?,
            idempotent_replays: registry.counter(
                "valerix_idempotent_replays_total",
                "Requests answered from the stored order of their idempotency key.",
            )?,
            orders_left: registry.counter(
                "valerix_retention_orders_total",
                "Old orders that were deleted, with their events, reservations and payments.",
            )?,
            refused_to_forget: registry.counter(
                "valerix_retention_refusals_total",
                "Times that inventory or payment refused to delete its row of an old order, \
                 because the row contradicts how the order ended.",
            )?,
        })
    }

    /// Sets the number of orders that have owed this for longer than the recovery bound.
    pub fn set_stuck(&self, owes: Obligation, orders: i64) {
        self.stuck.with_label_values(&[owes.as_str()]).set(orders);
    }

    /// Counts a change of an order.
    pub fn count_change(&self, status: OrderStatus, reason: ChangeReason) {
        self.transitions
            .with_label_values(&[status.as_str(), reason.as_str()])
            .inc();
    }
}
