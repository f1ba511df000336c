//! Calls to a service we depend on, guarded: breaker, bulkhead, retry budget. The guards are one for the process,
//! shared by its worker threads; the connections belong to a worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web;
use rand::RngExt;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tracing::Instrument;

use super::breaker::{Breaker, Pass, RetryBudget, State};
use super::bundle::calls::Calls;
use super::client::{Answer, CallError, Client};
use super::deadline::Deadline;
use super::gremlin::{self, Gremlin};
use super::metrics::Metrics;
use super::server::Platform;
use super::telemetry;

/// Calls under way at once, at most.
const BULKHEAD: usize = 256;
/// How long a call waits for its place.
const BULKHEAD_WAIT: Duration = Duration::from_millis(100);
const MOST_RETRIES: u32 = 2;
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The guards of one dependency.
pub struct Guard {
    name: &'static str,
    breaker: Mutex<Breaker>,
    budget: Mutex<RetryBudget>,
    bulkhead: Semaphore,
    /// A call that takes this long counts as failed, whatever it brought.
    slow: Duration,
    metrics: web::Data<Metrics>,
    gremlin: Gremlin,
    /// Told when the dependency is back.
    returned: Arc<Notify>,
}

impl Guard {
    #[must_use]
    pub fn new(name: &'static str, slow: Duration, platform: &Platform, returned: Arc<Notify>) -> Self {
        let guard = Self {
            name,
            breaker: Mutex::default(),
            budget: Mutex::default(),
            bulkhead: Semaphore::new(BULKHEAD),
            slow,
            metrics: platform.metrics.clone(),
            gremlin: platform.gremlin.clone(),
            returned,
        };
        guard.show(State::Closed);
        guard
    }

    #[must_use]
    pub fn state(&self) -> State {
        lock(&self.breaker).state(Instant::now())
    }

    fn show(&self, state: State) {
        for known in [State::Closed, State::HalfOpen, State::Open] {
            let gauge = self.metrics.breaker_state.with_label_values(&[self.name, known.as_str()]);
            gauge.set(i64::from(known == state));
        }
    }

    /// Changes the breaker, and tells of a change of its state.
    fn with_breaker<T>(&self, change: impl FnOnce(&mut Breaker, Instant) -> T) -> T {
        let now = Instant::now();
        let mut breaker = lock(&self.breaker);
        let before = breaker.state(now);
        let result = change(&mut breaker, now);
        let after = breaker.state(now);
        drop(breaker);
        if before != after {
            self.show(after);
            tracing::warn!(
                dependency = self.name,
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

    fn admit(&self) -> Result<Admission<'_>, CallError> {
        let pass = self.with_breaker(Breaker::admit).ok_or(CallError::NotTried("its breaker is open"))?;
        Ok(Admission { guard: self, pass, started: Instant::now(), open: true })
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, CallError> {
        let place = tokio::time::timeout(BULKHEAD_WAIT, self.bulkhead.acquire()).await;
        place.ok().and_then(Result::ok).ok_or(CallError::NotTried("its bulkhead is full"))
    }

    fn may_retry(&self) -> bool {
        let may = lock(&self.budget).withdraw();
        if may {
            self.metrics.dependency_retries.with_label_values(&[self.name]).inc();
        }
        may
    }

    fn count(&self, outcome: &str) {
        self.metrics.dependency_calls.with_label_values(&[self.name, outcome]).inc();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that the breaker let through. Dropped without a result, as when the customer hung up, it counts as given up.
struct Admission<'a> {
    guard: &'a Guard,
    pass: Pass,
    started: Instant,
    open: bool,
}

impl Admission<'_> {
    fn conclude(mut self, answered: bool) {
        self.open = false;
        let good = answered && self.started.elapsed() < self.guard.slow;
        self.guard.with_breaker(|breaker, now| breaker.record(self.pass, now, good));
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.open {
            self.guard.with_breaker(|breaker, now| breaker.abandon(self.pass, now));
        }
    }
}

/// A worker's client of a dependency.
#[derive(Clone)]
pub struct Dependency {
    client: Client,
    guard: Arc<Guard>,
    bundled: Vec<Calls>,
}

impl Dependency {
    #[must_use]
    pub fn new(client: Client, guard: Arc<Guard>) -> Self {
        Self { client, guard, bundled: Vec::new() }
    }

    /// The same, with calls of this route sent together where there are several at once and the service takes them so.
    #[must_use]
    pub fn bundling(mut self, path: &'static str) -> Self {
        let sizes = self.guard.metrics.bundle_calls.with_label_values(&[self.guard.name, path]);
        self.bundled.push(Calls::new(self.client.clone(), path, sizes));
        self
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        let call = gremlin::Call { dependency: self.guard.name, method: "POST", route: path, deadline };
        let product = || product_of(body);
        let send = async || self.guard.gremlin.around(call, product, self.send(path, body, deadline)).await;
        self.call("POST", path, deadline, send).await
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

    /// # Errors
    /// See [`CallError`].
    pub async fn get(&self, path: &str, deadline: Deadline) -> Result<Answer, CallError> {
        let route = path.split('?').next().unwrap_or_default();
        let call = gremlin::Call { dependency: self.guard.name, method: "GET", route, deadline };
        let send = async || self.guard.gremlin.around(call, || None, self.client.get(path, deadline)).await;
        self.call("GET", path, deadline, send).await
    }

    /// One call in a span of its own, by OpenTelemetry's conventions for HTTP clients; retries are events in it.
    async fn call(
        &self,
        method: &'static str,
        path: &str,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        if !telemetry::is_sampled() {
            // A span that nobody will see; the request's own goes along.
            return self.counted(deadline, send).await.0;
        }
        let route = path.split('?').next().unwrap_or_default();
        let span = tracing::info_span!(
            "call",
            otel.name = format!("{method} {route}"),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = method,
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
            peer.service = self.guard.name,
            url.template = route,
        );
        let (outcome, error) = self.counted(deadline, send).instrument(span.clone()).await;
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
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> (Result<Answer, CallError>, Option<String>) {
        let outcome = self.guarded(deadline, send).await;
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
            Err(error @ CallError::NotTried(_)) => ("not-tried", Some(error.to_string())),
            Err(error) => ("error", Some(error.to_string())),
        };
        self.guard.count(result);
        (outcome, error)
    }

    async fn guarded(
        &self,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        let admission = self.guard.admit()?;
        let _place = self.guard.place().await?;
        let outcome = self.send_with_retries(deadline, send).await;
        admission.conclude(outcome.as_ref().is_ok_and(|answer| !answer.status.is_server_error()));
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
            if !cannot_have_run(&outcome) || wait >= deadline.remaining() || !self.guard.may_retry() {
                return outcome;
            }
            tracing::info!(dependency = self.guard.name, "trying again: it cannot have run");
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

/// Only what surely was not carried out is tried again: the flow knows what to do about the rest.
fn cannot_have_run(outcome: &Result<Answer, CallError>) -> bool {
    match outcome {
        Ok(answer) => answer.status == StatusCode::SERVICE_UNAVAILABLE,
        Err(error) => matches!(error, CallError::NotConnected(_)),
    }
}
