//! Drives one attempt at an order: asks the flow what to do, calls, stores, until there is nothing
//! more to do now.

use std::time::Duration;

use actix_web::web;
use chrono::{DateTime, Utc};

use super::recovery;
use crate::api::OrderStatus;
use crate::domain::saga::{Attempt, Event, State, Step};
use crate::order::clients::{Inventory, Payments, Subject};
use crate::order::metrics::OrderMetrics;
use crate::order::store;
use crate::order::store::{NewOrder, OrderRow, Transition};
use crate::platform::db::batcher::Batcher;
use crate::platform::db::{Database, DatabaseError, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::trace_context;

/// Store the changes of an order together with those of the thread's other orders.
#[derive(Clone)]
pub struct Batchers {
    pub inserts: Batcher<NewOrder, Option<OrderRow>>,
    pub changes: Batcher<Transition, Option<DateTime<Utc>>>,
}

/// What an attempt works with; one per worker thread.
#[derive(Clone)]
pub struct Driver {
    pub database: Database,
    pub batchers: Batchers,
    pub inventory: Inventory,
    pub payments: Payments,
    pub metrics: web::Data<OrderMetrics>,
    /// For each call: connect, head and body together.
    pub step_timeout: Duration,
}

impl Driver {
    /// Goes on with an order until it is settled, overtaken, or has to wait; calls nobody once the
    /// budget is spent, and leaves what is owed then to recovery. Returns the order as it then
    /// is.
    ///
    /// # Errors
    /// When the order's own database fails; what was stored before stays, and recovery goes on from
    /// it.
    pub async fn drive(
        &self,
        mut order: OrderRow,
        budget: Deadline,
        expired: bool,
    ) -> Result<OrderRow, DatabaseError> {
        let state = order
            .state()
            .map_err(|error| DatabaseError::Internal(error.to_string()))?;
        let mut attempt = Attempt::new(state);
        let mut holds_lease = true;
        loop {
            let step = attempt.next();
            if step == Step::Stop {
                if holds_lease {
                    self.give_up(&order, &attempt.state).await?;
                }
                return Ok(order);
            }
            let unfinished = attempt.state.status != OrderStatus::Failed;
            let event = if expired && unfinished {
                Event::Expired
            } else {
                self.perform(step, &order, attempt.state, budget).await
            };
            let (after, change) = attempt.on(event);
            if let Some(change) = change {
                let rest = (after.next() == Step::Stop).then(|| rest(&order, &after.state));
                match self.store(&order, after.state, change.reason, rest).await? {
                    Some(at) => order = order.changed(after.state, at),
                    None => return self.overtaken(order).await,
                }
                holds_lease = rest.is_none();
            } else if event == Event::Overtaken {
                return self.overtaken(order).await;
            }
            attempt = after;
        }
    }

    async fn perform(&self, step: Step, order: &OrderRow, state: State, budget: Deadline) -> Event {
        let subject = Subject {
            order_id: order.id,
            product_id: &order.product_id,
            quantity: order.quantity,
            amount: order.amount,
            epoch: order.epoch,
        };
        let release_epoch = state.release_epoch();
        let deadline = Deadline::after(self.step_timeout).min(budget);
        let event = match step {
            Step::Reserve => self.inventory.reserve(subject, deadline).await,
            Step::Release => {
                self.inventory
                    .release(subject, release_epoch, deadline)
                    .await
            }
            Step::Charge => self.payments.charge(subject, deadline).await,
            Step::AskPayment => self.payments.ask(subject, deadline).await,
            Step::Void => self.payments.void(subject, deadline).await,
            Step::Stop => Event::Overtaken,
        };
        match event {
            Event::Reserved => failpoint::point("order.reserved").await,
            Event::Charged => failpoint::point("order.charged").await,
            Event::Released => failpoint::point("order.released").await,
            _ => {}
        }
        event
    }

    async fn store(
        &self,
        order: &OrderRow,
        state: State,
        reason: &'static str,
        rest: Option<Duration>,
    ) -> Result<Option<DateTime<Utc>>, DatabaseError> {
        let trace_id = trace_context::current_trace_id();
        let change = Transition {
            id: order.id,
            state,
            reason,
            trace_id,
            rest,
        };
        let changed = self
            .batchers
            .changes
            .submit(change, Deadline::after(WORK_TIMEOUT))
            .await?;
        if changed.is_some() {
            self.metrics
                .transitions
                .with_label_values(&[state.status.as_str(), reason])
                .inc();
            tracing::info!(order_id = %order.id, status = %state.status, reason, attempt = state.epoch, "order changed");
            failpoint::point(match state.status {
                OrderStatus::Confirmed => "order.confirmed",
                OrderStatus::Failed => "order.failed",
                _ => "order.pending",
            })
            .await;
        }
        Ok(changed)
    }

    /// The attempt ends with something left to do and nothing to store: the next one need not wait
    /// for the lease.
    async fn give_up(&self, order: &OrderRow, state: &State) -> Result<(), DatabaseError> {
        let rest = rest(order, state);
        self.database
            .run_when_unlocked(async |connection| store::give_up(connection, order, rest).await)
            .await
    }

    /// Someone else has the order now: what they made of it is what counts.
    async fn overtaken(&self, order: OrderRow) -> Result<OrderRow, DatabaseError> {
        tracing::info!(order_id = %order.id, attempt = order.epoch, "overtaken by a later attempt");
        let present = self
            .database
            .run_when_unlocked(async |connection| store::find(connection, order.id).await)
            .await?;
        Ok(present.unwrap_or(order))
    }
}

/// How long the next attempt waits. A change of status begins a new count of attempts, as in the
/// store.
fn rest(order: &OrderRow, state: &State) -> Duration {
    let attempts = if order.status == state.status.as_str() {
        order.attempts
    } else {
        0
    };
    let max = if state.is_final() {
        recovery::MAX_OWED_BACKOFF
    } else {
        recovery::MAX_UNFINISHED_BACKOFF
    };
    recovery::backoff(attempts, max, rand::random())
}
