//! Calls to a service we depend on, guarded: a circuit breaker for each route, a bulkhead and a
//! retry budget for the service. The guards are one for the process, shared by its worker threads;
//! the connections belong to a worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web;
use rand::RngExt;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tracing::Instrument;

use super::answer::{Answer, CallError};
use super::circuit_breaker::{Breaker, Pass, RetryBudget, State};
use super::http_client::Client;
use super::metrics::ClientMetrics;
use super::request_batch::client::Calls;
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection;
use crate::platform::fault_injection::Gremlin;
use crate::platform::observability::trace_context;

/// Calls under way at once, at most.
const BULKHEAD: usize = 256;
/// How long a call waits for its place.
const BULKHEAD_WAIT: Duration = Duration::from_millis(100);
const MOST_RETRIES: u32 = 2;
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(20);

/// One thing that a dependency is called for.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Label of its breaker.
    pub name: &'static str,
    pub path: &'static str,
}

/// The guards of one dependency.
pub struct Guard {
    name: &'static str,
    /// A route that fails must not close the others.
    routes: Vec<RouteGuard>,
    budget: Mutex<RetryBudget>,
    bulkhead: Semaphore,
    /// A call that takes this long counts as failed, whatever its answer was.
    slow: Duration,
    metrics: web::Data<ClientMetrics>,
    gremlin: Gremlin,
    /// Notified when a breaker closes again.
    returned: Arc<Notify>,
}

struct RouteGuard {
    name: &'static str,
    breaker: Mutex<Breaker>,
}

impl Guard {
    #[must_use]
    pub fn new(
        name: &'static str,
        routes: &[Route],
        slow: Duration,
        metrics: web::Data<ClientMetrics>,
        gremlin: Gremlin,
        returned: Arc<Notify>,
    ) -> Self {
        let routes = routes.iter().map(|route| RouteGuard {
            name: route.name,
            breaker: Mutex::default(),
        });
        let guard = Self {
            name,
            routes: routes.collect(),
            budget: Mutex::default(),
            bulkhead: Semaphore::new(BULKHEAD),
            slow,
            metrics,
            gremlin,
            returned,
        };
        for route in &guard.routes {
            guard.show(route, State::Closed);
        }
        guard
    }

    /// State of a route's breaker. A route that has none admits every call.
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

    fn show(&self, route: &RouteGuard, state: State) {
        for known in [State::Closed, State::HalfOpen, State::Open] {
            let labels = [self.name, route.name, known.as_str()];
            self.metrics
                .breaker_state
                .with_label_values(&labels)
                .set(i64::from(known == state));
        }
    }

    /// Changes a route's breaker, and reports a change of its state.
    fn with_breaker<T>(
        &self,
        route: &RouteGuard,
        change: impl FnOnce(&mut Breaker, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let mut breaker = lock(&route.breaker);
        let before = breaker.state(now);
        let result = change(&mut breaker, now);
        let after = breaker.state(now);
        drop(breaker);
        if before != after {
            self.show(route, after);
            tracing::warn!(
                dependency = self.name,
                route = route.name,
                from = before.as_str(),
                to = after.as_str(),
                "breaker changed"
            );
            if after == State::Closed {
                self.returned.notify_one();
            }
        }
        result
    }

    fn admit(&self, route: Route, may_open: bool) -> Result<Option<Admission<'_>>, CallError> {
        let Some(route) = self.route(route) else {
            return Ok(None);
        };
        let pass = self
            .with_breaker(route, Breaker::admit)
            .ok_or(CallError::NotTried("its breaker is open"))?;
        Ok(Some(Admission {
            guard: self,
            route,
            pass,
            started: Instant::now(),
            may_open,
            open: true,
        }))
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, CallError> {
        let place = tokio::time::timeout(BULKHEAD_WAIT, self.bulkhead.acquire()).await;
        place
            .ok()
            .and_then(Result::ok)
            .ok_or(CallError::NotTried("its bulkhead is full"))
    }

    fn may_retry(&self) -> bool {
        let may = lock(&self.budget).withdraw();
        if may {
            self.metrics.retries.with_label_values(&[self.name]).inc();
        }
        may
    }

    fn count(&self, outcome: &str) {
        self.metrics
            .calls
            .with_label_values(&[self.name, outcome])
            .inc();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that the breaker admitted. Dropped without a result, as when the client hung up, it
/// counts as abandoned.
struct Admission<'a> {
    guard: &'a Guard,
    route: &'a RouteGuard,
    pass: Pass,
    started: Instant,
    may_open: bool,
    open: bool,
}

impl Admission<'_> {
    fn conclude(mut self, outcome: &Result<Answer, CallError>) {
        self.open = false;
        let good = match outcome {
            // The trouble of this call alone: the service is there, and a lock is held on what the
            // call needs.
            Ok(answer) if answer.is_locked() => true,
            Ok(answer) => {
                !answer.status.is_server_error() && self.started.elapsed() < self.guard.slow
            }
            Err(_) => false,
        };
        let (pass, may_open) = (self.pass, self.may_open);
        self.guard.with_breaker(self.route, |breaker, now| {
            if may_open {
                breaker.record(pass, now, good)
            } else {
                breaker.record_probe(pass, now, good)
            }
        });
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.open {
            self.guard
                .with_breaker(self.route, |breaker, now| breaker.abandon(self.pass, now));
        }
    }
}

/// A worker's client of a dependency.
#[derive(Clone)]
pub struct Dependency {
    client: Client,
    guard: Arc<Guard>,
    bundled: Vec<Calls>,
    may_open: bool,
}

impl Dependency {
    #[must_use]
    pub fn new(client: Client, guard: Arc<Guard>) -> Self {
        Self {
            client,
            guard,
            bundled: Vec::new(),
            may_open: true,
        }
    }

    /// The same for calls that respect the breakers but do not open them: they are repeated until
    /// they succeed, so that their failures say little about the calls of others.
    #[must_use]
    pub fn never_opening(self) -> Self {
        Self {
            may_open: false,
            ..self
        }
    }

    /// The same, with calls of this route sent together where there are several at once and the
    /// service takes them so.
    #[must_use]
    pub fn bundling(mut self, route: Route) -> Self {
        let path = route.path;
        let sizes = self
            .guard
            .metrics
            .batch_size
            .with_label_values(&[self.guard.name, path]);
        self.bundled
            .push(Calls::new(self.client.clone(), path, sizes));
        self
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: Serialize>(
        &self,
        route: Route,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        let path = route.path;
        let call = fault_injection::Call {
            dependency: self.guard.name,
            method: "POST",
            route: path,
            deadline,
        };
        let product = || product_of(body);
        let send = async || {
            self.guard
                .gremlin
                .around(call, product, self.send(path, body, deadline))
                .await
        };
        self.call("POST", route, deadline, send).await
    }

    async fn send<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        match self.bundled.iter().find(|calls| calls.path() == path) {
            Some(calls) => calls.post(body, deadline).await,
            None => self.client.post(path, body, deadline).await,
        }
    }

    /// `query` follows the route's path.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get(
        &self,
        route: Route,
        query: &str,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        let call = fault_injection::Call {
            dependency: self.guard.name,
            method: "GET",
            route: route.path,
            deadline,
        };
        let path = format!("{}{query}", route.path);
        let send = async || {
            self.guard
                .gremlin
                .around(call, || None, self.client.get(&path, deadline))
                .await
        };
        self.call("GET", route, deadline, send).await
    }

    /// One call in a span of its own, by OpenTelemetry's conventions for HTTP clients; retries are
    /// events in it.
    async fn call(
        &self,
        method: &'static str,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        if !trace_context::is_sampled() {
            // A span that nobody will see; the request's own goes along.
            return self.counted(route, deadline, send).await.0;
        }
        let span = tracing::info_span!(
            "call",
            otel.name = format!("{method} {}", route.path),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = method,
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
            peer.service = self.guard.name,
            url.template = route.path,
        );
        let (outcome, error) = self
            .counted(route, deadline, send)
            .instrument(span.clone())
            .await;
        if let Ok(answer) = &outcome {
            span.record("http.response.status_code", answer.status.as_u16());
        }
        if let Some(error) = error {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error);
        }
        outcome
    }

    /// The outcome, counted by its kind, and in words what was wrong with it.
    async fn counted(
        &self,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> (Result<Answer, CallError>, Option<String>) {
        let outcome = self.guarded(route, deadline, send).await;
        let (result, error) = match &outcome {
            Ok(answer) if answer.status.is_server_error() => {
                ("error", Some(answer.status.as_str().to_owned()))
            }
            // For a client span every status from 400 on is an error.
            Ok(answer) if answer.status.is_client_error() => {
                ("answered", Some(answer.status.as_str().to_owned()))
            }
            Ok(_) => ("answered", None),
            Err(error @ CallError::TimedOut) => ("timeout", Some(error.to_string())),
            Err(error @ CallError::NotTried(_)) => ("rejected", Some(error.to_string())),
            Err(error) => ("error", Some(error.to_string())),
        };
        self.guard.count(result);
        (outcome, error)
    }

    async fn guarded(
        &self,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        let admission = self.guard.admit(route, self.may_open)?;
        let _place = self.guard.place().await?;
        let outcome = self.send_with_retries(deadline, send).await;
        if let Some(admission) = admission {
            admission.conclude(&outcome);
        }
        outcome
    }

    async fn send_with_retries(
        &self,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        lock(&self.guard.budget).deposit();
        let mut pause = FIRST_RETRY_PAUSE;
        for _ in 0..MOST_RETRIES {
            let outcome = send().await;
            let wait = rand::rng().random_range(Duration::ZERO..=pause);
            if !cannot_have_run(&outcome) || wait >= deadline.remaining() || !self.guard.may_retry()
            {
                return outcome;
            }
            tracing::info!(
                dependency = self.guard.name,
                "trying again: it cannot have run"
            );
            tokio::time::sleep(wait).await;
            pause *= 4;
        }
        send().await
    }
}

/// The product that a call's body names.
fn product_of<T: Serialize>(body: &T) -> Option<String> {
    let body = serde_json::to_value(body).ok()?;
    body.get("product_id")?.as_str().map(str::to_owned)
}

/// Only a call that surely was not carried out is tried again; the saga knows what to do about the
/// rest. A call that met a lock has waited already, and trying it again would take the caller's
/// time.
fn cannot_have_run(outcome: &Result<Answer, CallError>) -> bool {
    match outcome {
        Ok(answer) => answer.promises_nothing_done() && !answer.is_locked(),
        Err(error) => matches!(error, CallError::NotConnected(_)),
    }
}
