//! A row of `orders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Bool, Integer, Jsonb, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid,
};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::duration::whole_milliseconds;
use crate::api::{FailureReason, OrderStatus};
use crate::domain::saga::SagaState;
use crate::platform::db::Stored;
use crate::platform::unknown_variant::UnknownVariant;

#[derive(Debug, Clone, QueryableByName)]
pub struct OrderRow {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub product_id: String,
    #[diesel(sql_type = Integer)]
    pub quantity: i32,
    /// The amount to charge.
    #[diesel(sql_type = Numeric)]
    pub amount: Decimal,
    #[diesel(sql_type = Text)]
    pub status: Stored<OrderStatus>,
    #[diesel(sql_type = Nullable<Text>)]
    pub failure_reason: Option<Stored<FailureReason>>,
    #[diesel(sql_type = Integer)]
    pub epoch: i32,
    #[diesel(sql_type = Nullable<Integer>)]
    pub release_owed_epoch: Option<i32>,
    #[diesel(sql_type = Bool)]
    pub refund_owed: bool,
    #[diesel(sql_type = Bool)]
    pub shipment_owed: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub fulfilled_at: Option<DateTime<Utc>>,
    /// Since when an order with a final status owes something.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub owed_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    pub next_attempt_at: DateTime<Utc>,
    /// Takeovers since the status last changed.
    #[diesel(sql_type = Integer)]
    pub takeovers: i32,
    /// The last call that failed in the last attempt.
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub last_failure: Option<Value>,
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

impl OrderRow {
    /// The columns, for hand-written statements.
    pub const COLUMNS: &str = "id, product_id, quantity, amount, status, failure_reason, epoch, \
                               release_owed_epoch, refund_owed, shipment_owed, \
                               fulfilled_at, owed_since, next_attempt_at, takeovers, \
                               last_failure, traceparent, created_at, updated_at";

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
            shipment_owed: self.shipment_owed,
            fulfilled: self.fulfilled_at.is_some(),
        })
    }

    /// The order as it was when it became confirmed.
    #[must_use]
    pub fn confirmed(self, at: DateTime<Utc>) -> Self {
        Self {
            status: Stored::from(OrderStatus::Confirmed),
            failure_reason: None,
            release_owed_epoch: None,
            refund_owed: false,
            shipment_owed: false,
            fulfilled_at: None,
            owed_since: None,
            last_failure: None,
            updated_at: at,
            ..self
        }
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

    /// The row after [`super::transition`] has stored `state`, at the time `at`.
    #[must_use]
    pub fn changed(
        self,
        state: SagaState,
        retry_after: Option<Duration>,
        last_failure: Option<Value>,
        at: DateTime<Utc>,
    ) -> Self {
        let is_owing = state.is_final() && state.owes_something();
        Self {
            takeovers: self.takeovers_at(state.status),
            status: Stored::from(state.status),
            failure_reason: self
                .failure_reason
                .or(state.failure_reason.map(Stored::from)),
            release_owed_epoch: state.release_owed_epoch,
            refund_owed: state.refund_owed,
            shipment_owed: state.shipment_owed,
            fulfilled_at: state.fulfilled.then(|| self.fulfilled_at.unwrap_or(at)),
            owed_since: is_owing.then(|| self.owed_since.unwrap_or(at)),
            next_attempt_at: retry_after
                .map_or(self.next_attempt_at, |delay| at + whole_milliseconds(delay)),
            last_failure,
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
            shipment_owed: false,
            fulfilled_at: None,
            owed_since: None,
            next_attempt_at: placed_at,
            takeovers: 7,
            last_failure: None,
            traceparent: None,
            created_at: placed_at,
            updated_at: placed_at,
        };
        let takeovers_in = |status| {
            let state = SagaState {
                status,
                ..order.state().unwrap()
            };
            order
                .clone()
                .changed(state, None, None, placed_at)
                .takeovers
        };
        assert_eq!(takeovers_in(OrderStatus::Pending), 7);
        assert_eq!(takeovers_in(OrderStatus::PendingPayment), 0);
    }
}
