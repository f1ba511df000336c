//! The recovery worker: finishes orders that a request, or an earlier attempt, has left unsettled.
//!
//! Each process of the order service has one worker, on a thread of its own. It claims orders that
//! have no live lease, and runs an attempt for each. Pending orders, owed releases, owed refunds
//! and owed shipments are separate queues with separate permits, so that attempts that fail in one
//! queue do not use up those of the others.
//!
//! Recovery respects the circuit breakers of the routes that a queue needs. While one is open, the
//! queue's orders wait, except that pending orders older than the recovery bound are failed. While
//! one is half-open, one order is claimed at each poll. When one closes, waiting orders become due
//! at once. A call of recovery never opens a closed breaker. As the probe of a half-open breaker,
//! it closes the breaker or opens it again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tracing::Instrument;

use super::executor::SagaExecutor;
use crate::order::store::{Claim, Claimed, Queue};
use crate::order::{clients, store};
use crate::platform::client::circuit_breaker::State as BreakerState;
use crate::platform::client::guard::DependencyGuard;
use crate::platform::db::{self, DatabaseError};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::incident_log::IncidentLog;
use crate::platform::observability::trace_context;
use crate::platform::shutdown::Shutdown;

/// How often the worker looks for orders when nothing wakes it.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// Attempts in progress for pending orders. Few, so that a backlog takes little capacity from new
/// orders.
const MAX_PENDING_ATTEMPTS: usize = 16;
/// Attempts in progress in each of the queues of what is owed.
const MAX_OWED_ATTEMPTS: usize = 8;
/// While there may be more pending orders than permits, the worker waits for this many free
/// permits, so that one statement claims several orders.
const MIN_FREE_TO_CLAIM: u32 = 8;
/// The lease of a takeover lasts this much longer than its attempt may take.
const TAKEOVER_LEASE_MARGIN: Duration = Duration::from_secs(2);
/// When a breaker closes, up to this many pending orders, and up to this many owing ones, become
/// due.
const MAX_WOKEN: i32 = 1000;
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(5);
/// Idempotency keys that each housekeeping removes.
const MAX_FORGOTTEN_KEYS: i32 = 500;

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// A pending order older than this fails. An order that owes something for longer is stuck.
    pub bound: Duration,
    /// The idempotency key of a settled order is kept for this long. At least `bound`.
    pub key_ttl: Duration,
}

pub struct Worker {
    pub executor: SagaExecutor,
    pub config: Config,
    pub inventory: Arc<DependencyGuard>,
    pub payment: Arc<DependencyGuard>,
    /// Notified when a breaker closes.
    pub recovered: Arc<Notify>,
    pub database_incident: IncidentLog,
}

/// The log of failures of the worker's own statements.
#[must_use]
pub fn database_incident() -> IncidentLog {
    IncidentLog::new(
        "recovery paused: its database statements fail",
        "recovery resumed: its database statements succeed",
    )
}

/// The permits of a queue, one for each attempt in progress.
struct QueuePermits {
    queue: Queue,
    semaphore: Arc<Semaphore>,
}

impl QueuePermits {
    fn of(queue: Queue) -> Self {
        let permits = match queue {
            Queue::Pending => MAX_PENDING_ATTEMPTS,
            Queue::Releases | Queue::Refunds | Queue::Shipments => MAX_OWED_ATTEMPTS,
        };
        Self {
            queue,
            semaphore: Arc::new(Semaphore::new(permits)),
        }
    }
}

impl Worker {
    /// Runs until shutdown. Attempts in progress are then dropped. Another worker takes their
    /// orders over when the leases end.
    pub async fn run(self, shutdown: Shutdown) {
        let worker = Rc::new(self);
        let queues = Queue::ALL.map(QueuePermits::of);
        let mut last_housekeeping: Option<Instant> = None;
        let mut any_expired = false;
        loop {
            if last_housekeeping.is_none_or(|last| last.elapsed() >= HOUSEKEEPING_INTERVAL) {
                last_housekeeping = Some(Instant::now());
                let outcome = worker.housekeeping().await;
                worker.observe(&outcome);
                any_expired = outcome.unwrap_or(any_expired);
            }
            let mut pending_is_full = false;
            for permits in &queues {
                let full = worker.start_attempts(permits, any_expired).await;
                pending_is_full |= full && permits.queue == Queue::Pending;
            }
            tokio::select! {
                // Waits for free permits, and does not keep them.
                _ = queues[0].semaphore.acquire_many(MIN_FREE_TO_CLAIM), if pending_is_full => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = worker.recovered.notified() => worker.observe(&worker.wake().await),
                () = shutdown.requested() => return,
            }
        }
    }

    /// Claims as many orders of a queue as it has free permits, and starts an attempt for each.
    /// Returns whether more orders may be due.
    async fn start_attempts(self: &Rc<Self>, permits: &QueuePermits, any_expired: bool) -> bool {
        let available = permits.semaphore.available_permits();
        let (claim, limit) = match self.worst_breaker(permits.queue) {
            BreakerState::Open if permits.queue == Queue::Pending && any_expired => {
                (Claim::Expired, available)
            }
            BreakerState::Open => return false,
            BreakerState::HalfOpen => (Claim::Probe, available.min(1)),
            BreakerState::Closed => (Claim::Due, available),
        };
        if limit == 0 {
            return claim == Claim::Due;
        }
        let before_claim = Deadline::after(self.attempt_timeout());
        let claimed = self
            .claim(
                permits.queue,
                claim,
                i32::try_from(limit).unwrap_or(i32::MAX),
            )
            .await;
        self.observe(&claimed);
        let Ok(claimed) = claimed else { return false };
        let full = claim == Claim::Due && claimed.len() == limit;
        for order in claimed {
            let Ok(permit) = Arc::clone(&permits.semaphore).acquire_owned().await else {
                return false;
            };
            let worker = Rc::clone(self);
            tokio::task::spawn_local(async move {
                worker.attempt(order, before_claim).await;
                drop(permit);
            });
        }
        full
    }

    /// The worst state among the breakers of the routes that the queue needs. Only a customer's
    /// request opens a breaker. So the breakers of the routes that no such request calls stay
    /// closed and are left out: the query of payments, the refund and the shipment.
    fn worst_breaker(&self, queue: Queue) -> BreakerState {
        let states = match queue {
            Queue::Pending => {
                vec![
                    self.inventory.state(clients::RESERVE),
                    self.payment.state(clients::CHARGE),
                ]
            }
            Queue::Releases => vec![self.inventory.state(clients::RELEASE)],
            Queue::Refunds | Queue::Shipments => Vec::new(),
        };
        if states.contains(&BreakerState::Open) {
            BreakerState::Open
        } else if states.contains(&BreakerState::HalfOpen) {
            BreakerState::HalfOpen
        } else {
            BreakerState::Closed
        }
    }

    /// The time for the calls of one attempt, which makes at most four calls.
    fn attempt_timeout(&self) -> Duration {
        self.executor.step_timeout * 4
    }

    async fn claim(
        &self,
        queue: Queue,
        claim: Claim,
        limit: i32,
    ) -> Result<Vec<Claimed>, DatabaseError> {
        let lease = self.attempt_timeout() + TAKEOVER_LEASE_MARGIN;
        let bound = self.config.bound;
        self.executor
            .database
            .run(async |connection| {
                store::claim(connection, queue, claim, limit, lease, bound).await
            })
            .await
    }

    /// Runs one attempt, in a trace of its own that is linked to the trace of the order's request.
    /// `before_claim` is the attempt's deadline as of the time before the order was claimed.
    async fn attempt(&self, claimed: Claimed, before_claim: Deadline) {
        let Claimed { order, expired } = claimed;
        let span = tracing::info_span!(
            parent: None,
            "recovery",
            otel.name = "recover order",
            order_id = %order.id,
            epoch = order.epoch,
        );
        if let Some(traceparent) = &order.traceparent {
            trace_context::link(&span, traceparent);
        }
        failpoint::point("order.claimed").await;
        let (id, epoch) = (order.id, order.epoch);
        let attempt_deadline = Deadline::after(self.attempt_timeout()).dated_by(before_claim);
        let attempt = async {
            match self.executor.run(order, attempt_deadline, expired).await {
                Ok(after) if after.epoch != epoch => "fenced",
                Ok(after) if after.state().is_ok_and(|state| state.is_settled()) => "settled",
                Ok(_) => "waiting",
                Err(error) => {
                    tracing::warn!(order_id = %id, %error, "a recovery attempt failed");
                    "error"
                }
            }
        };
        let outcome = attempt.instrument(span).await;
        self.count(outcome);
    }

    async fn wake(&self) -> Result<(), DatabaseError> {
        let woken = self
            .executor
            .database
            .run(async |connection| store::wake(connection, MAX_WOKEN).await)
            .await?;
        tracing::info!(woken, "a dependency recovered: waiting orders are due now");
        Ok(())
    }

    /// Updates the metrics and removes old idempotency keys. Returns whether a pending order is
    /// older than the recovery bound.
    async fn housekeeping(&self) -> Result<bool, DatabaseError> {
        let Config { bound, key_ttl } = self.config;
        let SagaExecutor {
            database, metrics, ..
        } = &self.executor;
        let backlog = database
            .run(async |connection| store::backlog(connection, bound).await)
            .await?;
        metrics.unsettled.set(backlog.unsettled);
        metrics
            .oldest_pending_seconds
            .set(backlog.oldest_pending_seconds);
        for (owes, orders) in backlog.stuck.by_obligation() {
            metrics.set_stuck(owes, orders);
        }
        let forgotten = database
            .run(async |connection| {
                store::forget_keys(connection, key_ttl, MAX_FORGOTTEN_KEYS).await
            })
            .await?;
        if forgotten > 0 {
            tracing::info!(forgotten, "old idempotency keys removed");
        }
        Ok(backlog.oldest_pending_seconds > bound.as_secs_f64())
    }

    /// Logs and counts a failure of a statement of the worker.
    fn observe<T>(&self, outcome: &Result<T, DatabaseError>) {
        db::observe(&self.database_incident, outcome);
        if outcome.is_err() {
            self.count("error");
        }
    }

    fn count(&self, outcome: &str) {
        let attempts = &self.executor.metrics.recovery_attempts;
        attempts.with_label_values(&[outcome]).inc();
    }
}
