//! The paths on which recovery can finish what a request has left, and how often it took each.

use std::collections::BTreeMap;

use strum::{Display, VariantArray};
use tokio_postgres::Client;

use super::operators::TRACE_ID_PREFIX;

/// A path on which recovery finishes an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Display, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum RecoveryPath {
    /// The request stopped before it stored any outcome.
    PendingConfirmed,
    /// Inventory was unavailable to an earlier attempt.
    PendingInventoryConfirmed,
    /// Payment was unavailable to an earlier attempt.
    PendingPaymentConfirmed,
    DeclinedLate,
    OutOfStockLate,
    ReleasedByRecovery,
    RefundedByRecovery,
    /// The operator's request could not give back the stock or the money of a cancelled order.
    CancelledSettledByRecovery,
    /// The operator's request could not ship the goods of a fulfilled order.
    ShippedByRecovery,
}

impl RecoveryPath {
    /// All paths. A campaign in which recovery did not take one of them proves too little.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The SQL condition on the event `e` that ends the path.
    const fn condition(self) -> &'static str {
        match self {
            Self::PendingConfirmed => {
                "reason = 'confirmed' AND epoch > 1 AND NOT EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.status IN ('PENDING_INVENTORY', 'PENDING_PAYMENT'))"
            }
            Self::PendingInventoryConfirmed => {
                "reason = 'confirmed' AND epoch > 1 AND EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.status = 'PENDING_INVENTORY')"
            }
            Self::PendingPaymentConfirmed => {
                "reason = 'confirmed' AND epoch > 1 AND EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.status = 'PENDING_PAYMENT')"
            }
            Self::DeclinedLate => "reason = 'payment-declined' AND epoch > 1",
            Self::OutOfStockLate => "reason = 'insufficient-stock' AND epoch > 1",
            Self::ReleasedByRecovery => {
                "reason = 'stock-returned' AND epoch > 1 AND NOT EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.reason = 'cancelled' AND b.epoch <= e.epoch)"
            }
            Self::RefundedByRecovery => {
                "reason IN ('payment-refunded', 'charge-forbidden', 'nothing-charged')
                    AND NOT EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.reason = 'cancelled' AND b.epoch <= e.epoch)"
            }
            Self::CancelledSettledByRecovery => {
                "reason IN ('stock-returned', 'no-stock-held', 'payment-refunded',
                    'charge-forbidden', 'nothing-charged') AND EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.reason = 'cancelled' AND b.epoch < e.epoch)"
            }
            Self::ShippedByRecovery => {
                "reason = 'fulfilled' AND EXISTS (
                    SELECT FROM order_events b WHERE b.order_id = e.order_id
                    AND b.reason = 'fulfilment-requested' AND b.epoch < e.epoch)"
            }
        }
    }

    /// Counts the events that end the path. An operator's attempt is not one of recovery.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count(self, client: &Client) -> Result<i64, tokio_postgres::Error> {
        let condition = self.condition();
        let statement = format!(
            "SELECT count(*) FROM order_events e
             WHERE COALESCE(trace_id NOT LIKE '{TRACE_ID_PREFIX}%', true) AND {condition}"
        );
        Ok(client.query_one(&statement, &[]).await?.get(0))
    }
}

/// Counts the events that end each path.
///
/// # Errors
/// When the database does not answer.
pub async fn count_all(
    client: &Client,
) -> Result<BTreeMap<RecoveryPath, i64>, tokio_postgres::Error> {
    let mut counts = BTreeMap::new();
    for path in RecoveryPath::ALL {
        counts.insert(*path, path.count(client).await?);
    }
    Ok(counts)
}
