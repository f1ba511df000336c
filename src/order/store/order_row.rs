//! A row of `orders`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::api::{FailureReason, OrderStatus};
use crate::domain::saga::SagaState;
use crate::order::schema::orders;
use crate::platform::db::Stored;
use crate::platform::unknown_variant::UnknownVariant;

#[derive(Debug, Clone, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = orders)]
pub struct OrderRow {
    pub id: Uuid,
    pub product_id: String,
    pub quantity: i32,
    /// The amount to charge.
    pub amount: Decimal,
    pub status: Stored<OrderStatus>,
    pub failure_reason: Option<Stored<FailureReason>>,
    pub epoch: i32,
    pub release_owed_epoch: Option<i32>,
    pub refund_owed: bool,
    /// Takeovers since the status last changed.
    pub takeovers: i32,
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl OrderRow {
    /// The columns, for hand-written statements.
    pub const COLUMNS: &str = "id, product_id, quantity, amount, status, failure_reason, epoch, \
                               release_owed_epoch, refund_owed, takeovers, traceparent, \
                               created_at, updated_at";

    /// # Errors
    /// When a newer version gave the order a status that this version does not know.
    pub fn state(&self) -> Result<SagaState, UnknownVariant> {
        let failure_reason = self.failure_reason.as_ref();
        Ok(SagaState {
            status: self.status.known()?,
            failure_reason: failure_reason.and_then(|reason| reason.known().ok()),
            epoch: self.epoch,
            release_owed_epoch: self.release_owed_epoch,
            refund_owed: self.refund_owed,
        })
    }

    /// Takeovers that an attempt which leaves the order in `status` has to count: a change of
    /// status starts at zero.
    #[must_use]
    pub fn takeovers_at(&self, status: OrderStatus) -> i32 {
        if self.status == Stored::from(status) {
            self.takeovers
        } else {
            0
        }
    }

    /// The row as [`super::transition`] leaves it.
    #[must_use]
    pub fn changed(self, state: SagaState, at: DateTime<Utc>) -> Self {
        Self {
            takeovers: self.takeovers_at(state.status),
            status: Stored::from(state.status),
            failure_reason: self
                .failure_reason
                .or(state.failure_reason.map(Stored::from)),
            release_owed_epoch: state.release_owed_epoch,
            refund_owed: state.refund_owed,
            updated_at: at,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_status_resets_the_takeovers() {
        let placed_at = Utc::now();
        let order = OrderRow {
            id: Uuid::nil(),
            product_id: "PROD-001".to_owned(),
            quantity: 1,
            amount: Decimal::ONE,
            status: Stored::from(OrderStatus::Pending),
            failure_reason: None,
            epoch: 1,
            release_owed_epoch: None,
            refund_owed: false,
            takeovers: 7,
            traceparent: None,
            created_at: placed_at,
            updated_at: placed_at,
        };
        let state = order.state().unwrap();
        assert_eq!(order.clone().changed(state, placed_at).takeovers, 7);
        let pending_payment = SagaState {
            status: OrderStatus::PendingPayment,
            ..state
        };
        assert_eq!(order.changed(pending_payment, placed_at).takeovers, 0);
    }
}
