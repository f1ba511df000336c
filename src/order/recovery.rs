//! The recovery worker: finishes what a request, or a worker before it, left unfinished.
//!
//! One in every order process, on a thread of its own. It claims orders that are in nobody's hands and drives each as
//! a request would. While a breaker is open it sends one order at a time to see; when the dependency is back, all
//! that waited is tried at once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tracing::Instrument;

use super::attempt::Driver;
use super::store::{self, Claim, Claimed};
use crate::platform::breaker::State;
use crate::platform::crash;
use crate::platform::database::DatabaseError;
use crate::platform::deadline::Deadline;
use crate::platform::dependency::Guard;
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry;
use crate::platform::trouble::Trouble;

/// How often it looks when nothing tells it to.
const POLL: Duration = Duration::from_millis(400);
/// Attempts under way at once: few enough that customers hardly notice a backlog being worked off.
const CONCURRENCY: usize = 16;
/// Claimed together while there is a backlog.
const MOST_CLAIMED: u32 = 8;
/// Beyond the attempt's budget: how long a lease outlives it.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
const WAKE_BATCH: i32 = 1000;
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(5);
const FORGET_BATCH: i32 = 500;

/// What recovery is configured with.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// An order that is unfinished for longer is failed, and what it holds given back.
    pub bound: Duration,
    /// How long idempotency keys are remembered.
    pub key_ttl: Duration,
}

/// The worker.
pub struct Worker {
    pub driver: Driver,
    pub config: Config,
    pub guards: [Arc<Guard>; 2],
    /// Told when a dependency is back.
    pub returned: Arc<Notify>,
    pub trouble: Trouble,
}

/// What a worker tells of a database that does not do what it is asked.
#[must_use]
pub fn trouble() -> Trouble {
    Trouble::new("recovery cannot use the database now", "recovery goes on")
}

/// Waits between attempts: at random below a limit that doubles with each, so that many orders do not come back in step.
#[must_use]
pub fn backoff(attempts: i32, random: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(3);
    let doublings = u32::try_from(attempts).unwrap_or_default().min(8);
    (FIRST * 2_u32.pow(doublings)).min(LONGEST).mul_f64(random)
}

impl Worker {
    /// Works until told to stop. What is under way then is finished by whoever claims it after its lease.
    pub async fn run(self, shutdown: Shutdown) {
        let worker = Rc::new(self);
        let places = Arc::new(Semaphore::new(CONCURRENCY));
        let mut housekeeping: Option<Instant> = None;
        loop {
            if housekeeping.is_none_or(|last| last.elapsed() >= HOUSEKEEPING_EVERY) {
                housekeeping = Some(Instant::now());
                worker.note(&worker.keep_house().await);
            }
            let full = worker.start_attempts(&places).await;
            if full {
                // More may be due: go on as soon as half of the places are free, to claim as many together.
                tokio::select! {
                    _ = places.acquire_many(MOST_CLAIMED) => continue,
                    () = shutdown.requested() => return,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = worker.returned.notified() => worker.note(&worker.wake().await),
                () = shutdown.requested() => return,
            }
        }
    }

    /// Claims as many as there are places for and starts on them; tells whether there may be more.
    async fn start_attempts(self: &Rc<Self>, places: &Arc<Semaphore>) -> bool {
        let (claim, limit) = match self.worst_breaker() {
            State::Open => return false,
            State::HalfOpen => (Claim::Probe, places.available_permits().min(1)),
            State::Closed => (Claim::Due, places.available_permits()),
        };
        let limit_rows = i32::try_from(limit).unwrap_or(i32::MAX);
        let claimed = self.claim(claim, limit_rows).await;
        self.note(&claimed);
        let Ok(claimed) = claimed else { return false };
        let full = claim == Claim::Due && claimed.len() == limit;
        for order in claimed {
            let Ok(place) = Arc::clone(places).acquire_owned().await else { return false };
            let worker = Rc::clone(self);
            tokio::task::spawn_local(async move {
                worker.attempt(order).await;
                drop(place);
            });
        }
        full
    }

    fn worst_breaker(&self) -> State {
        let states = self.guards.each_ref().map(|guard| guard.state());
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

    async fn claim(&self, claim: Claim, limit: i32) -> Result<Vec<Claimed>, DatabaseError> {
        let lease = self.budget() + LEASE_MARGIN;
        let bound = self.config.bound;
        self.driver
            .database
            .run(async |connection| store::claim(connection, claim, limit, lease, bound).await)
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
            telemetry::link(&span, traceparent);
        }
        crash::point("order.claimed").await;
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
                Err(error) => tracing::warn!(order_id = %id, %error, "the attempt could not be stored"),
            }
        }
        .instrument(span)
        .await;
        self.driver.metrics.recovery_attempts.with_label_values(&[settled.get()]).inc();
    }

    async fn wake(&self) -> Result<(), DatabaseError> {
        let woken =
            self.driver.database.run(async |connection| store::wake(connection, WAKE_BATCH).await).await?;
        tracing::info!(woken, "a dependency is back: what waited for it is tried now");
        Ok(())
    }

    async fn keep_house(&self) -> Result<(), DatabaseError> {
        let ttl = self.config.key_ttl;
        let database = &self.driver.database;
        let backlog = database.run(async |connection| store::backlog(connection).await).await?;
        self.driver.metrics.orders_unfinished.set(backlog.orders);
        self.driver.metrics.oldest_unfinished_seconds.set(backlog.oldest_seconds);
        let forgotten =
            database.run(async |connection| store::forget_keys(connection, ttl, FORGET_BATCH).await).await?;
        if forgotten > 0 {
            tracing::info!(forgotten, "old idempotency keys removed");
        }
        Ok(())
    }

    fn note<T>(&self, outcome: &Result<T, DatabaseError>) {
        self.trouble.note(outcome);
        if outcome.is_err() {
            self.driver.metrics.recovery_attempts.with_label_values(&["error"]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap_and_jitters_over_the_whole_range() {
        let most: Vec<_> = (0..6).map(|attempts| backoff(attempts, 1.0).as_millis()).collect();
        assert_eq!(most, [250, 500, 1000, 2000, 3000, 3000]);
        assert_eq!(backoff(3, 0.0), Duration::ZERO);
        assert_eq!(backoff(i32::MAX, 0.5), Duration::from_millis(1500));
        assert_eq!(backoff(-1, 1.0), Duration::from_millis(250));
    }
}
