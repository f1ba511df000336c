//! Charges an order at most once, however many requests ask for it.

use std::sync::Arc;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::gateway::{Decision, Gateway};
use super::problems::{gateway_unavailable, mismatch, not_stored, unknown_status};
use super::store::{self, DecidedPayment, PaymentRow};
use crate::api::{Charge, PaymentStatus};
use crate::domain::payment;
use crate::platform::db::batcher::Batcher;
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::problem::Problem;

/// Charged when the request names no amount: 99.99.
const DEFAULT_AMOUNT: Decimal = Decimal::from_parts(9999, 0, 0, false, 2);

/// The payment of an order after a charge.
pub enum Charged {
    /// This call stored it.
    Now(PaymentRow),
    /// It was stored before.
    Before(PaymentRow),
}

/// Charges orders. Requests that arrive together are looked up and stored together.
pub struct Charges {
    gateway: Arc<dyn Gateway>,
    find: Batcher<Uuid, Option<PaymentRow>>,
    insert: Batcher<DecidedPayment, Option<PaymentRow>>,
}

impl Charges {
    /// Starts the batchers of the current thread.
    #[must_use]
    pub fn start(database: &Database, gateway: Arc<dyn Gateway>) -> Self {
        Self {
            gateway,
            find: Batcher::start(database, store::FIND),
            insert: Batcher::start(database, store::INSERT),
        }
    }

    /// Reads the payment of an order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(
        &self,
        order_id: Uuid,
        deadline: Deadline,
    ) -> Result<Option<PaymentRow>, DatabaseError> {
        self.find.submit(order_id, deadline).await
    }

    /// Charges an order, or returns the payment that it already has.
    ///
    /// # Errors
    /// `payment-mismatch` (422) and `unrecognized-state` (409) about the stored payment. Before the
    /// gateway is called, those of the deadline and of the database: nothing was done. Afterwards
    /// `outcome-unknown` (503), or `internal-error` (500).
    pub async fn charge(&self, charge: Charge, deadline: Deadline) -> Result<Charged, Problem> {
        let Charge {
            order_id,
            amount,
            epoch,
        } = charge;
        tracing::Span::current().record("order_id", tracing::field::display(order_id));
        failpoint::point("payment.charge.begin").await;
        deadline.check()?;
        if let Some(stored) = self.find_earlier(order_id, epoch, deadline).await? {
            return stored_before(stored, amount);
        }
        let decided = self.ask_gateway(order_id, amount).await?;
        failpoint::point("payment.charge.decided").await;
        // Stored even after the request's deadline: the gateway has decided, and later requests
        // have to find its decision.
        let inserted = self
            .insert
            .submit(decided, Deadline::after(WORK_TIMEOUT))
            .await
            .map_err(|error| not_stored(order_id, error))?;
        failpoint::point("payment.charge.committed").await;
        match inserted {
            Some(row) => Ok(Charged::Now(row)),
            None => self.keep_stored(order_id, amount).await,
        }
    }

    /// Reads the order's payment, unless this is the order's first attempt. The first attempt skips
    /// the read because there is hardly ever a payment. If there is one after all, because the
    /// request arrived twice, the gateway repeats its first decision, and the insert finds the row.
    async fn find_earlier(
        &self,
        order_id: Uuid,
        epoch: Option<i32>,
        deadline: Deadline,
    ) -> Result<Option<PaymentRow>, Problem> {
        if epoch == Some(1) {
            return Ok(None);
        }
        let stored = self.find(order_id, deadline).await;
        stored.map_err(DatabaseError::into_read_problem)
    }

    async fn ask_gateway(
        &self,
        order_id: Uuid,
        amount: Option<Decimal>,
    ) -> Result<DecidedPayment, Problem> {
        let amount = amount.unwrap_or(DEFAULT_AMOUNT);
        let decision = self.gateway.charge(order_id, amount).await;
        let decision = decision.map_err(|error| gateway_unavailable(order_id, error))?;
        Ok(DecidedPayment {
            order_id,
            amount,
            status: match decision {
                Decision::Approved => PaymentStatus::Success,
                Decision::Declined => PaymentStatus::Failed,
            },
        })
    }

    /// Accepts the payment that another request stored first. If that request was a void, whatever
    /// the gateway has done since is cancelled.
    async fn keep_stored(
        &self,
        order_id: Uuid,
        amount: Option<Decimal>,
    ) -> Result<Charged, Problem> {
        let stored = self
            .find(order_id, Deadline::after(WORK_TIMEOUT))
            .await
            .map_err(|error| not_stored(order_id, error))?
            .ok_or_else(|| Problem::internal("a payment row was deleted"))?;
        if let Ok(PaymentStatus::Voided | PaymentStatus::Refunded) = stored.status.known() {
            let cancelled = self.gateway.cancel(order_id).await;
            cancelled.map_err(|error| gateway_unavailable(order_id, error))?;
        }
        stored_before(stored, amount)
    }
}

/// Accepts the stored payment as the answer, unless the request names another amount.
fn stored_before(stored: PaymentRow, amount: Option<Decimal>) -> Result<Charged, Problem> {
    let status = stored
        .status
        .known()
        .map_err(|unknown| unknown_status(stored.order_id, &unknown))?;
    if payment::is_mismatch(amount, stored.amount, status) {
        return Err(mismatch(stored.order_id, stored.amount));
    }
    Ok(Charged::Before(stored))
}
