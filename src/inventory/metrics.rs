//! Counts of deliveries.

use prometheus::IntCounterVec;

use super::requests::DeliveryOutcome;
use crate::platform::observability::metrics::Registry;

/// The series of the inventory service.
pub struct InventoryMetrics {
    /// Deliveries and corrections, by outcome.
    deliveries: IntCounterVec,
}

impl InventoryMetrics {
    /// # Errors
    /// When the registry has these series already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            deliveries: registry.counters(
                "valerix_deliveries_total",
                "Deliveries and corrections of stock, by outcome.",
                &["outcome"],
            )?,
        })
    }

    /// Counts a delivery whose outcome is known.
    pub fn count(&self, outcome: &DeliveryOutcome) {
        let label = match outcome {
            DeliveryOutcome::Made(delivery) if delivery.quantity < 0 => "corrected",
            DeliveryOutcome::Made(_) => "delivered",
            DeliveryOutcome::MadeBefore(_) => "repeated",
            DeliveryOutcome::OtherPayload
            | DeliveryOutcome::UnknownProduct
            | DeliveryOutcome::InsufficientStock { .. }
            | DeliveryOutcome::TooMuchStock => "rejected",
        };
        self.deliveries.with_label_values(&[label]).inc();
    }
}
