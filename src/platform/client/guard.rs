//! Protects the callers of a dependency: circuit breakers, a bulkhead and a retry budget.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::circuit_breaker::{CircuitBreaker, State, Ticket};
use super::metrics::ClientMetrics;
use super::response::{CallError, Response};
use super::retry_budget::RetryBudget;
use crate::platform::fault_injection::Gremlin;

/// Bulkhead: calls to one dependency that may be in progress at the same time.
const MAX_CALLS_IN_PROGRESS: usize = 256;
/// How long a call waits for a permit of the bulkhead.
const BULKHEAD_TIMEOUT: Duration = Duration::from_millis(100);

/// A route of a dependency.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The label of its circuit breaker in logs and metrics.
    pub name: &'static str,
    pub path: &'static str,
}

/// Protects one dependency with a circuit breaker for each route, one bulkhead and one retry
/// budget. All worker threads share it.
pub struct DependencyGuard {
    pub(super) name: &'static str,
    /// Each route has its own breaker: a route that fails must not stop the calls to the others.
    routes: Vec<RouteGuard>,
    retry_budget: Mutex<RetryBudget>,
    bulkhead: Semaphore,
    /// A call that takes at least this long counts as failed, whatever the response.
    slow_after: Duration,
    pub(super) metrics: web::Data<ClientMetrics>,
    pub(super) gremlin: Gremlin,
    /// Notified when a breaker closes.
    recovered: Arc<Notify>,
}

struct RouteGuard {
    name: &'static str,
    breaker: Mutex<CircuitBreaker>,
}

impl DependencyGuard {
    #[must_use]
    pub fn new(
        name: &'static str,
        routes: &[Route],
        slow_after: Duration,
        metrics: web::Data<ClientMetrics>,
        gremlin: Gremlin,
        recovered: Arc<Notify>,
    ) -> Self {
        let routes = routes.iter().map(|route| RouteGuard {
            name: route.name,
            breaker: Mutex::default(),
        });
        let guard = Self {
            name,
            routes: routes.collect(),
            retry_budget: Mutex::default(),
            bulkhead: Semaphore::new(MAX_CALLS_IN_PROGRESS),
            slow_after,
            metrics,
            gremlin,
            recovered,
        };
        for route in &guard.routes {
            guard.set_state_metric(route, State::Closed);
        }
        guard
    }

    /// Returns the state of a route's breaker. A route without a breaker admits every call.
    #[must_use]
    pub fn state(&self, route: Route) -> State {
        self.route(route).map_or(State::Closed, |route| {
            lock(&route.breaker).state(Instant::now())
        })
    }

    fn route(&self, route: Route) -> Option<&RouteGuard> {
        self.routes
            .iter()
            .find(|guarded| guarded.name == route.name)
    }

    fn set_state_metric(&self, route: &RouteGuard, state: State) {
        for known in [State::Closed, State::HalfOpen, State::Open] {
            let labels = [self.name, route.name, known.as_str()];
            self.metrics
                .breaker_state
                .with_label_values(&labels)
                .set(i64::from(known == state));
        }
    }

    /// Applies a change to a route's breaker. Logs a change of its state and updates the metric.
    fn with_breaker<T>(
        &self,
        route: &RouteGuard,
        change: impl FnOnce(&mut CircuitBreaker, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let mut breaker = lock(&route.breaker);
        let before = breaker.state(now);
        let result = change(&mut breaker, now);
        let after = breaker.state(now);
        drop(breaker);
        if before != after {
            self.set_state_metric(route, after);
            tracing::warn!(
                dependency = self.name,
                route = route.name,
                from = before.as_str(),
                to = after.as_str(),
                "the circuit breaker changed its state"
            );
            if after == State::Closed {
                self.recovered.notify_one();
            }
        }
        result
    }

    /// Admits a call, unless the route's breaker is open. Returns `None` for a route without a
    /// breaker.
    pub(super) fn admit(
        &self,
        route: Route,
        may_open_breaker: bool,
    ) -> Result<Option<CallPermit<'_>>, CallError> {
        let Some(route) = self.route(route) else {
            return Ok(None);
        };
        let ticket = self
            .with_breaker(route, CircuitBreaker::admit)
            .ok_or(CallError::Rejected("the circuit breaker is open"))?;
        Ok(Some(CallPermit {
            guard: self,
            route,
            ticket,
            started: Instant::now(),
            may_open_breaker,
            is_pending: true,
        }))
    }

    pub(super) async fn bulkhead_permit(&self) -> Result<SemaphorePermit<'_>, CallError> {
        let permit = tokio::time::timeout(BULKHEAD_TIMEOUT, self.bulkhead.acquire()).await;
        permit
            .ok()
            .and_then(Result::ok)
            .ok_or(CallError::Rejected("the bulkhead is full"))
    }

    /// Adds the share of one call to the retry budget.
    pub(super) fn deposit_for_call(&self) {
        lock(&self.retry_budget).deposit();
    }

    /// Takes a retry from the budget. Returns false if the budget is used up.
    pub(super) fn try_take_retry(&self) -> bool {
        let has_retry = lock(&self.retry_budget).withdraw();
        if has_retry {
            self.metrics.retries.with_label_values(&[self.name]).inc();
        }
        has_retry
    }

    pub(super) fn count_outcome(&self, outcome: &str) {
        self.metrics
            .calls
            .with_label_values(&[self.name, outcome])
            .inc();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that the circuit breaker admitted. Dropping it without an outcome abandons the call, for
/// example when the client that is waiting for it closes its connection.
pub struct CallPermit<'a> {
    guard: &'a DependencyGuard,
    route: &'a RouteGuard,
    ticket: Ticket,
    started: Instant,
    may_open_breaker: bool,
    is_pending: bool,
}

impl CallPermit<'_> {
    /// Records the outcome of the call.
    pub fn complete(mut self, outcome: &Result<Response, CallError>) {
        self.is_pending = false;
        let succeeded = match outcome {
            // The service works; only a lock of another database session prevented the call.
            Ok(response) if response.is_locked() => true,
            Ok(response) => {
                !response.status.is_server_error() && self.started.elapsed() < self.guard.slow_after
            }
            Err(_) => false,
        };
        let (ticket, may_open_breaker) = (self.ticket, self.may_open_breaker);
        self.guard.with_breaker(self.route, |breaker, now| {
            if may_open_breaker {
                breaker.record(ticket, now, succeeded);
            } else {
                breaker.record_probe(ticket, now, succeeded);
            }
        });
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        if self.is_pending {
            self.guard
                .with_breaker(self.route, |breaker, now| breaker.abandon(self.ticket, now));
        }
    }
}
