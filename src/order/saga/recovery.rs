//! The recovery worker: finishes what a request, or a worker before it, left unfinished.
//!
//! One in every order process, on a thread of its own. It claims orders that are in nobody's hands
//! and drives each as a request would. Orders to finish, releases and refunds are queues of their
//! own: what cannot succeed in one takes no attempt from the others. While a breaker that a queue
//! needs is open, its orders wait; half-open, one order is tried at a time; when it closes, all
//! that waited is tried at once. Recovery's own calls never open a breaker.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tracing::Instrument;

use super::executor::Driver;
use crate::order::store::{Claim, Claimed, Queue};
use crate::order::{clients, store};
use crate::platform::client::circuit_breaker::State;
use crate::platform::client::guard::DependencyGuard;
use crate::platform::db::{self, DatabaseError};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::observability::incident_log::IncidentLog;
use crate::platform::observability::trace_context;
use crate::platform::shutdown::Shutdown;

/// How often the worker looks for orders when nothing wakes it.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// Attempts in progress at once for orders to finish: few enough that customers hardly notice a
/// backlog being worked off.
const MAX_UNFINISHED_ATTEMPTS: usize = 16;
/// Attempts in progress at once for each kind of obligation.
const MAX_OWED_ATTEMPTS: usize = 8;
/// A full queue is claimed from again when half of its permits are free, and the worker looks at
/// this many at once.
const MIN_FREE_TO_CLAIM: u32 = 8;
/// Beyond the attempt's budget: how long a lease outlives it.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
const WAKE_BATCH: i32 = 1000;
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(5);
const FORGET_BATCH: i32 = 500;
const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// Between two attempts to finish an order: it is finished soon after a dependency returns.
pub const MAX_UNFINISHED_BACKOFF: Duration = Duration::from_secs(3);
/// Between two attempts to meet an obligation, which may have to be repeated for ever.
pub const MAX_OWED_BACKOFF: Duration = Duration::from_secs(60);

/// What recovery is configured with.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// An order that is unfinished for longer is failed, and what it holds given back.
    pub bound: Duration,
    /// How long the idempotency key of a settled order is remembered.
    pub key_ttl: Duration,
}

/// The worker.
pub struct Worker {
    pub driver: Driver,
    pub config: Config,
    pub inventory: Arc<DependencyGuard>,
    pub payment: Arc<DependencyGuard>,
    /// Notified when a breaker closes again.
    pub recovered: Arc<Notify>,
    pub trouble: IncidentLog,
}

/// Logs when the database refuses recovery's work, and when it goes on.
#[must_use]
pub fn trouble() -> IncidentLog {
    IncidentLog::new("recovery cannot use the database now", "recovery goes on")
}

/// Exponential backoff with full jitter: between zero and a limit that doubles with each attempt,
/// up to `max`. `random` is from 0 to 1.
#[must_use]
pub fn backoff(attempts: i32, max: Duration, random: f64) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or_default().min(8);
    (MIN_BACKOFF * 2_u32.pow(doublings))
        .min(max)
        .mul_f64(random)
}

/// A queue's permits, one for each attempt in progress.
struct Permits {
    queue: Queue,
    semaphore: Arc<Semaphore>,
}

impl Permits {
    fn of(queue: Queue) -> Self {
        let permits = if queue == Queue::Unfinished {
            MAX_UNFINISHED_ATTEMPTS
        } else {
            MAX_OWED_ATTEMPTS
        };
        Self {
            queue,
            semaphore: Arc::new(Semaphore::new(permits)),
        }
    }
}

impl Worker {
    /// Works until told to stop. What is in progress then is finished by whoever claims it after
    /// its lease.
    pub async fn run(self, shutdown: Shutdown) {
        let worker = Rc::new(self);
        let queues = Queue::ALL.map(Permits::of);
        let mut housekeeping: Option<Instant> = None;
        let mut any_expired = false;
        loop {
            if housekeeping.is_none_or(|last| last.elapsed() >= HOUSEKEEPING_INTERVAL) {
                housekeeping = Some(Instant::now());
                let kept = worker.keep_house().await;
                worker.note(&kept);
                any_expired = kept.unwrap_or(any_expired);
            }
            let mut finishing_is_full = false;
            for permits in &queues {
                let full = worker.start_attempts(permits, any_expired).await;
                finishing_is_full |= full && permits.queue == Queue::Unfinished;
            }
            tokio::select! {
                // More may be due. Half of the permits are waited for, so that as many orders are claimed in one statement.
                _ = queues[0].semaphore.acquire_many(MIN_FREE_TO_CLAIM), if finishing_is_full => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = worker.recovered.notified() => worker.note(&worker.wake().await),
                () = shutdown.requested() => return,
            }
        }
    }

    /// Claims as many of a queue's orders as there are permits and starts on them; tells whether
    /// there may be more.
    async fn start_attempts(self: &Rc<Self>, permits: &Permits, any_expired: bool) -> bool {
        let available = permits.semaphore.available_permits();
        let (claim, limit) = match self.worst_breaker(permits.queue) {
            State::Open if permits.queue == Queue::Unfinished && any_expired => {
                (Claim::Expired, available)
            }
            State::Open => return false,
            State::HalfOpen => (Claim::Probe, available.min(1)),
            State::Closed => (Claim::Due, available),
        };
        if limit == 0 {
            return claim == Claim::Due;
        }
        let claimed = self
            .claim(
                permits.queue,
                claim,
                i32::try_from(limit).unwrap_or(i32::MAX),
            )
            .await;
        self.note(&claimed);
        let Ok(claimed) = claimed else { return false };
        let full = claim == Claim::Due && claimed.len() == limit;
        for order in claimed {
            let Ok(permit) = Arc::clone(&permits.semaphore).acquire_owned().await else {
                return false;
            };
            let worker = Rc::clone(self);
            tokio::task::spawn_local(async move {
                worker.attempt(order).await;
                drop(permit);
            });
        }
        full
    }

    /// The worst state among the routes that an order of the queue needs. Customers' calls open
    /// these breakers: those that recovery alone calls (a payment's query, a refund) stay
    /// closed.
    fn worst_breaker(&self, queue: Queue) -> State {
        let states = match queue {
            Queue::Unfinished => {
                vec![
                    self.inventory.state(clients::RESERVE),
                    self.payment.state(clients::CHARGE),
                ]
            }
            Queue::Releases => vec![self.inventory.state(clients::RELEASE)],
            Queue::Refunds => vec![self.payment.state(clients::REFUND)],
        };
        if states.contains(&State::Open) {
            State::Open
        } else if states.contains(&State::HalfOpen) {
            State::HalfOpen
        } else {
            State::Closed
        }
    }

    fn budget(&self) -> Duration {
        self.driver.step_timeout * 4
    }

    async fn claim(
        &self,
        queue: Queue,
        claim: Claim,
        limit: i32,
    ) -> Result<Vec<Claimed>, DatabaseError> {
        let lease = self.budget() + LEASE_MARGIN;
        let bound = self.config.bound;
        self.driver
            .database
            .run(async |connection| {
                store::claim(connection, queue, claim, limit, lease, bound).await
            })
            .await
    }

    /// One attempt at one claimed order, in a trace of its own.
    async fn attempt(&self, claimed: Claimed) {
        let Claimed { order, expired } = claimed;
        let span = tracing::info_span!(
            parent: None,
            "recovery",
            otel.name = "recover order",
            order_id = %order.id,
            attempt = order.epoch,
        );
        if let Some(traceparent) = &order.traceparent {
            trace_context::link(&span, traceparent);
        }
        failpoint::point("order.claimed").await;
        let (id, epoch) = (order.id, order.epoch);
        let budget = Deadline::after(self.budget());
        let settled = Cell::new("error");
        async {
            match self.driver.drive(order, budget, expired).await {
                Ok(after) if after.epoch != epoch => settled.set("overtaken"),
                Ok(after) => {
                    let done = after.state().is_ok_and(|state| state.is_settled());
                    settled.set(if done { "settled" } else { "waiting" });
                }
                Err(error) => {
                    tracing::warn!(order_id = %id, %error, "the attempt could not be stored")
                }
            }
        }
        .instrument(span)
        .await;
        self.driver
            .metrics
            .recovery_attempts
            .with_label_values(&[settled.get()])
            .inc();
    }

    async fn wake(&self) -> Result<(), DatabaseError> {
        let woken = self
            .driver
            .database
            .run(async |connection| store::wake(connection, WAKE_BATCH).await)
            .await?;
        tracing::info!(
            woken,
            "a dependency is back: what waited for it is tried now"
        );
        Ok(())
    }

    /// Tells whether an order is older than the recovery bound.
    async fn keep_house(&self) -> Result<bool, DatabaseError> {
        let Config { bound, key_ttl } = self.config;
        let Driver {
            database, metrics, ..
        } = &self.driver;
        let backlog = database
            .run(async |connection| store::backlog(connection, bound).await)
            .await?;
        metrics.unfinished.set(backlog.orders);
        metrics
            .oldest_unfinished_seconds
            .set(backlog.oldest_seconds);
        metrics.stuck.set(backlog.stuck);
        let forgotten = database
            .run(async |connection| store::forget_keys(connection, key_ttl, FORGET_BATCH).await)
            .await?;
        if forgotten > 0 {
            tracing::info!(forgotten, "old idempotency keys removed");
        }
        Ok(backlog.oldest_seconds > bound.as_secs_f64())
    }

    fn note<T>(&self, outcome: &Result<T, DatabaseError>) {
        db::observe(&self.trouble, outcome);
        if outcome.is_err() {
            self.driver
                .metrics
                .recovery_attempts
                .with_label_values(&["error"])
                .inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_jitters_over_the_whole_range() {
        let limits = |max| {
            (0..10)
                .map(|attempts| backoff(attempts, max, 1.0).as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            limits(MAX_UNFINISHED_BACKOFF)[..6],
            [250, 500, 1000, 2000, 3000, 3000]
        );
        assert_eq!(
            limits(MAX_OWED_BACKOFF)[6..],
            [16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(backoff(3, MAX_OWED_BACKOFF, 0.0), Duration::ZERO);
        assert_eq!(
            backoff(i32::MAX, MAX_UNFINISHED_BACKOFF, 0.5),
            Duration::from_millis(1500)
        );
        assert_eq!(
            backoff(-1, MAX_OWED_BACKOFF, 1.0),
            Duration::from_millis(250)
        );
    }
}
