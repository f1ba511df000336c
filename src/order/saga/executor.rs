//! Runs attempts of the saga: performs each step, and stores each transition before the next step.

use std::time::Duration;

use actix_web::web;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::backoff;
use super::steps::Steps;
use crate::api::OrderStatus;
use crate::domain::saga::{Attempt, SagaState, Step, StepOutcome};
use crate::order::clients::{CallOutcome, InventoryClient, OrderRef, PaymentClient};
use crate::order::metrics::OrderMetrics;
use crate::order::store;
use crate::order::store::{NewOrder, OrderRow, OrderTransition};
use crate::platform::db::batcher::Batcher;
use crate::platform::db::{Database, DatabaseError, Stored, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::trace_context;

/// Batch the statements of one thread's orders.
#[derive(Clone)]
pub struct Batchers {
    pub inserts: Batcher<NewOrder, Option<OrderRow>>,
    pub transitions: Batcher<OrderTransition, Option<DateTime<Utc>>>,
}

/// Runs attempts on one worker thread.
#[derive(Clone)]
pub struct SagaExecutor {
    pub database: Database,
    pub batchers: Batchers,
    pub inventory: InventoryClient,
    pub payment: PaymentClient,
    pub metrics: web::Data<OrderMetrics>,
    /// For one call: connect, head and body together.
    pub step_timeout: Duration,
}

impl SagaExecutor {
    /// Returns an executor whose calls do not open circuit breakers, for changes that operators ask
    /// for. Their failures must not change what customers are answered.
    #[must_use]
    pub fn without_opening_breakers(&self) -> Self {
        Self {
            inventory: self.inventory.clone().without_opening_breakers(),
            payment: self.payment.clone().without_opening_breakers(),
            ..self.clone()
        }
    }

    /// Runs one attempt to finish an order: until the order is settled, must wait for a later
    /// attempt, or was taken over by one. Returns the order as it is then.
    ///
    /// No call lasts beyond `attempt_deadline`. An `expired` order that is pending fails without a
    /// call.
    ///
    /// # Errors
    /// When the order's database fails. The transitions stored before are kept, and recovery goes
    /// on from them.
    pub async fn run(
        &self,
        mut order: OrderRow,
        attempt_deadline: Deadline,
        expired: bool,
    ) -> Result<OrderRow, DatabaseError> {
        let state = order
            .state()
            .map_err(|error| DatabaseError::Internal(error.to_string()))?;
        let mut attempt = Attempt::new(state);
        let mut steps = Steps::default();
        let mut holds_lease = true;
        while let Some(step) = attempt.next() {
            let outcome = if expired && !attempt.state.is_final() {
                StepOutcome::Expired
            } else {
                // Boxed, because the future of a call is large, and that of an attempt contains it.
                let call = Box::pin(self.perform(step, &order, attempt.state, attempt_deadline));
                let outcome = steps.record(step, call).await;
                pass_failpoint(outcome).await;
                outcome
            };
            let (after, transition) = attempt.apply(outcome);
            if let Some(transition) = transition {
                let has_ended = after.next().is_none();
                let transition = OrderTransition {
                    id: order.id,
                    state: after.state,
                    reason: transition.reason,
                    trace_id: trace_context::current_trace_id(),
                    retry_after: has_ended.then(|| backoff::retry_after(&order, &after.state)),
                    steps: steps.take(),
                    last_failure: steps.last_failure(),
                };
                let (retry_after, last_failure) =
                    (transition.retry_after, transition.last_failure.clone());
                match self.store(transition).await? {
                    Some(at) => order = order.changed(after.state, retry_after, last_failure, at),
                    None => return self.reload_after_fencing(order).await,
                }
                holds_lease = !has_ended;
            } else if outcome == StepOutcome::Fenced {
                return self.reload_after_fencing(order).await;
            }
            attempt = after;
        }
        if holds_lease {
            let last_failure = steps.last_failure();
            let retry_after = backoff::retry_after(&order, &attempt.state);
            match self
                .release_lease(&order, retry_after, last_failure.as_ref())
                .await?
            {
                Some(at) => (order.next_attempt_at, order.last_failure) = (at, last_failure),
                None => return self.reload_after_fencing(order).await,
            }
        }
        Ok(order)
    }

    /// Runs one attempt as [`Self::run`] does. If it fails, returns the order as it was before.
    ///
    /// The order is stored, and recovery finishes it. If the client were asked to repeat its
    /// request, it could create a second order.
    pub async fn run_or_leave_to_recovery(
        &self,
        order: OrderRow,
        attempt_deadline: Deadline,
        expired: bool,
    ) -> OrderRow {
        // Boxed: the future of an attempt is large.
        let attempt = Box::pin(self.run(order.clone(), attempt_deadline, expired));
        match attempt.await {
            Ok(order) => order,
            Err(error) => {
                tracing::error!(
                    order_id = %order.id,
                    %error,
                    "an attempt failed; recovery finishes the order"
                );
                order
            }
        }
    }

    /// Runs the attempt of the request that placed the order, and returns the order to answer with.
    ///
    /// If another attempt has confirmed the order meanwhile, the answer is stored first, because a
    /// key repeats a 201 as it was, also after the order was cancelled. If that fails, the order is
    /// returned as it was placed: the client gets a 202, and learns later how the order has ended.
    pub async fn run_request(&self, placed: OrderRow, attempt_deadline: Deadline) -> OrderRow {
        let order = self
            .run_or_leave_to_recovery(placed.clone(), attempt_deadline, false)
            .await;
        let is_of_this_attempt = order.epoch == placed.epoch;
        if is_of_this_attempt || order.status != Stored::from(OrderStatus::Confirmed) {
            return order;
        }
        let is_stored = self
            .database
            .run_with_lock_retries(async |connection| {
                store::store_confirmed_response(connection, &order).await
            })
            .await;
        match is_stored {
            Ok(true) => order,
            Ok(false) => placed,
            Err(error) => {
                tracing::error!(order_id = %placed.id, %error, "a 201 could not be stored");
                placed
            }
        }
    }

    async fn perform(
        &self,
        step: Step,
        order: &OrderRow,
        state: SagaState,
        attempt_deadline: Deadline,
    ) -> CallOutcome {
        let order_ref = OrderRef {
            order_id: order.id,
            product_id: &order.product_id,
            quantity: order.quantity,
            amount: order.amount,
            epoch: order.epoch,
        };
        let release_epoch = state.release_epoch();
        let deadline = Deadline::after(self.step_timeout).min(attempt_deadline);
        match step {
            Step::Reserve => self.inventory.reserve(order_ref, deadline).await,
            Step::Release => {
                self.inventory
                    .release(order_ref, release_epoch, deadline)
                    .await
            }
            Step::Charge => self.payment.charge(order_ref, deadline).await,
            Step::QueryPayment => self.payment.query(order_ref, deadline).await,
            Step::Refund => self.payment.refund(order_ref, deadline).await,
            Step::Ship => self.inventory.ship(order_ref, deadline).await,
        }
    }

    /// Stores a transition. Returns when it was made; `None` when it was not made, because the
    /// epoch or a final status has changed.
    async fn store(
        &self,
        transition: OrderTransition,
    ) -> Result<Option<DateTime<Utc>>, DatabaseError> {
        let OrderTransition {
            id, state, reason, ..
        } = transition;
        let changed_at = self
            .batchers
            .transitions
            .submit(transition, Deadline::after(WORK_TIMEOUT))
            .await?;
        if changed_at.is_some() {
            self.metrics.count_change(state.status, reason);
            tracing::info!(
                order_id = %id,
                status = %state.status,
                %reason,
                epoch = state.epoch,
                "order changed"
            );
            failpoint::point(match state.status {
                OrderStatus::Confirmed if state.fulfilled => "order.fulfilled",
                OrderStatus::Confirmed => "order.confirmed",
                OrderStatus::Failed => "order.failed",
                _ => "order.pending",
            })
            .await;
        }
        Ok(changed_at)
    }

    /// Ends an attempt that has no transition to store. Without this, the next attempt would have
    /// to wait until the lease ends. Returns when the next attempt is due; `None` when a later
    /// attempt has taken the order over.
    async fn release_lease(
        &self,
        order: &OrderRow,
        retry_after: Duration,
        last_failure: Option<&Value>,
    ) -> Result<Option<DateTime<Utc>>, DatabaseError> {
        self.database
            .run_with_lock_retries(async |connection| {
                store::release_lease(connection, order, retry_after, last_failure).await
            })
            .await
    }

    /// Reads the order as others have changed it since this attempt began.
    async fn reload_after_fencing(&self, order: OrderRow) -> Result<OrderRow, DatabaseError> {
        tracing::info!(
            order_id = %order.id,
            epoch = order.epoch,
            "attempt ended without a change: the epoch or a final status has changed"
        );
        let current = self
            .database
            .run_with_lock_retries(async |connection| store::find(connection, order.id).await)
            .await?;
        Ok(current.unwrap_or(order))
    }
}

/// Passes the failpoint between a call and the change that follows from its outcome.
async fn pass_failpoint(outcome: StepOutcome) {
    match outcome {
        StepOutcome::Reserved => failpoint::point("order.reserved").await,
        StepOutcome::Charged => failpoint::point("order.charged").await,
        StepOutcome::Released { .. } => failpoint::point("order.released").await,
        StepOutcome::Refunded(_) => failpoint::point("order.refunded").await,
        StepOutcome::Shipped => failpoint::point("order.shipped").await,
        _ => {}
    }
}
