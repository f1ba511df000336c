//! The actions of operators: they cancel, fulfil or retry an order.

use std::time::Duration;

use tracing::Span;
use uuid::Uuid;

use super::executor::SagaExecutor;
use crate::domain::saga::{ChangeReason, Refusal, SagaState};
use crate::order::store::{self, Intervention, OrderRow};
use crate::platform::db::{DatabaseError, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::trace_context;
use crate::platform::unknown_variant::UnknownVariant;

/// The time that an action's attempt has beyond two step timeouts, for the order's own statements.
const ATTEMPT_MARGIN: Duration = Duration::from_millis(100);
/// The lease of an action lasts this much longer than its attempt may take.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// Why an action was not done.
#[derive(Debug)]
pub enum ActionError {
    /// There is no such order.
    UnknownOrder,
    Refused(Refusal),
    /// A newer version gave the order a status that this version does not know.
    UnknownStatus(UnknownVariant),
    /// The order could not be read. Nothing was changed.
    Read(DatabaseError),
    /// Changing the order failed. Nothing was changed, unless
    /// [`DatabaseError::is_outcome_unknown`].
    Write(DatabaseError),
}

/// A change that was asked for.
struct Change {
    reason: ChangeReason,
    failpoint: &'static str,
    /// Returns the state after the change; `None` if there is nothing to change.
    decide: fn(SagaState) -> Result<Option<SagaState>, Refusal>,
}

const CANCEL: Change = Change {
    reason: ChangeReason::Cancelled,
    failpoint: "order.cancelled",
    decide: SagaState::cancelled,
};

const FULFIL: Change = Change {
    reason: ChangeReason::FulfilmentRequested,
    failpoint: "order.fulfilment-requested",
    decide: SagaState::with_shipment_owed,
};

/// The order after a decision about it.
enum Decided {
    /// The change is stored.
    Changed(OrderRow),
    /// There was nothing to change.
    Unchanged(OrderRow),
}

/// Executes the actions of operators. Each worker thread has its own.
#[derive(Clone)]
pub struct OperatorActions {
    executor: SagaExecutor,
    /// A pending order older than this fails.
    recovery_bound: Duration,
}

impl OperatorActions {
    #[must_use]
    pub fn new(executor: &SagaExecutor, recovery_bound: Duration) -> Self {
        Self {
            executor: executor.without_opening_breakers(),
            recovery_bound,
        }
    }

    /// Ends the order as cancelled, and gives its stock and its money back. What cannot be given
    /// back now is owed, and recovery does it.
    ///
    /// # Errors
    /// See [`ActionError`].
    pub async fn cancel(&self, id: Uuid, deadline: Deadline) -> Result<OrderRow, ActionError> {
        match self.change(id, &CANCEL, deadline).await? {
            Decided::Changed(order) => Ok(self.attempt(order, deadline, false).await),
            Decided::Unchanged(order) => Ok(order),
        }
    }

    /// Lets the goods of a confirmed order leave. If they cannot leave now, the shipment is owed,
    /// and recovery does it.
    ///
    /// # Errors
    /// See [`ActionError`].
    pub async fn fulfil(&self, id: Uuid, deadline: Deadline) -> Result<OrderRow, ActionError> {
        match self.change(id, &FULFIL, deadline).await? {
            Decided::Changed(order) => Ok(self.attempt(order, deadline, false).await),
            Decided::Unchanged(order) if order.shipment_owed => self.retry(id, deadline).await,
            Decided::Unchanged(order) => Ok(order),
        }
    }

    /// Makes an attempt to finish the order now, unless it is settled or an attempt is in progress.
    ///
    /// # Errors
    /// See [`ActionError`].
    pub async fn retry(&self, id: Uuid, deadline: Deadline) -> Result<OrderRow, ActionError> {
        let (lease, bound) = (self.lease(), self.recovery_bound);
        let claimed = self
            .executor
            .database
            .run_with_lock_retries_within(time_left(deadline), async |connection| {
                store::claim_one(connection, id, lease, bound).await
            })
            .await
            .map_err(ActionError::Write)?;
        match claimed {
            Some(claimed) => Ok(self.attempt(claimed.order, deadline, claimed.expired).await),
            None => self.find(id, deadline).await,
        }
    }

    /// Decides about the order as it is, and stores the change. If the order has changed meanwhile,
    /// decides again.
    async fn change(
        &self,
        id: Uuid,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Decided, ActionError> {
        loop {
            let order = self.find(id, deadline).await?;
            let state = order.state().map_err(ActionError::UnknownStatus)?;
            let Some(state) = (change.decide)(state).map_err(ActionError::Refused)? else {
                return Ok(Decided::Unchanged(order));
            };
            let intervention = Intervention {
                state,
                reason: change.reason,
                trace_id: trace_context::current_trace_id(),
                lease: self.lease(),
            };
            let changed = self
                .executor
                .database
                .run_with_lock_retries_within(time_left(deadline), async |connection| {
                    store::intervene(connection, &order, &intervention).await
                })
                .await
                .map_err(ActionError::Write)?;
            if let Some(order) = changed {
                self.executor
                    .metrics
                    .count_change(state.status, change.reason);
                let (status, epoch, reason) = (state.status, state.epoch, change.reason);
                tracing::info!(order_id = %id, %status, %reason, epoch, "order changed");
                failpoint::point(change.failpoint).await;
                return Ok(Decided::Changed(order));
            }
        }
    }

    async fn find(&self, id: Uuid, deadline: Deadline) -> Result<OrderRow, ActionError> {
        let order = self
            .executor
            .database
            .run_with_lock_retries_within(time_left(deadline), async |connection| {
                store::find(connection, id).await
            })
            .await
            .map_err(ActionError::Read)?;
        order.ok_or(ActionError::UnknownOrder)
    }

    /// Runs an attempt for an order that this request has taken over. If the attempt fails, returns
    /// the order as it was before it; recovery goes on.
    async fn attempt(&self, order: OrderRow, deadline: Deadline, expired: bool) -> OrderRow {
        if let Some(traceparent) = &order.traceparent {
            trace_context::link(&Span::current(), traceparent);
        }
        // `deadline` also dates the calls: it was made before the order was taken over.
        let attempt_deadline = Deadline::after(self.attempt_timeout()).min(deadline);
        self.executor
            .run_or_leave_to_recovery(order, attempt_deadline, expired)
            .await
    }

    fn attempt_timeout(&self) -> Duration {
        self.executor.step_timeout * 2 + ATTEMPT_MARGIN
    }

    fn lease(&self) -> Duration {
        self.attempt_timeout() + LEASE_MARGIN
    }
}

fn time_left(deadline: Deadline) -> Duration {
    deadline.remaining().min(WORK_TIMEOUT)
}
