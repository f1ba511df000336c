//! Calls to a service that this service depends on, protected by a [`DependencyGuard`].

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use serde::Serialize;
use tracing::Instrument;

use super::guard::{DependencyGuard, Route};
use super::http_client::Client;
use super::request_batch::client::RequestBatcher;
use super::response::{CallError, Response};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection;
use crate::platform::observability::trace_context;

const MAX_RETRIES: u32 = 2;
/// Upper bound on the wait before the first retry. The wait is random (full jitter), and its upper
/// bound is four times as long for each further retry.
const INITIAL_RETRY_WAIT: Duration = Duration::from_millis(20);

/// The client of a dependency in one worker thread.
#[derive(Clone)]
pub struct Dependency {
    client: Client,
    guard: Arc<DependencyGuard>,
    batchers: Vec<RequestBatcher>,
    may_open_breaker: bool,
}

impl Dependency {
    #[must_use]
    pub fn new(client: Client, guard: Arc<DependencyGuard>) -> Self {
        Self {
            client,
            guard,
            batchers: Vec::new(),
            may_open_breaker: true,
        }
    }

    /// Returns a client whose calls are rejected by open circuit breakers but do not open closed
    /// ones. Recovery repeats its calls until they succeed, so their failures say little about
    /// other calls.
    #[must_use]
    pub fn without_opening_breakers(self) -> Self {
        Self {
            may_open_breaker: false,
            ..self
        }
    }

    /// Returns a client that sends the calls to this route in batches when several are made at the
    /// same time and the service takes batches.
    #[must_use]
    pub fn with_batches(mut self, route: Route) -> Self {
        let path = route.path;
        let sizes = self
            .guard
            .metrics
            .batch_size
            .with_label_values(&[self.guard.name, path]);
        self.batchers
            .push(RequestBatcher::new(self.client.clone(), path, sizes));
        self
    }

    /// Sends JSON to a route.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status is not an error.
    pub async fn post<T: Serialize>(
        &self,
        route: Route,
        body: &T,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        let path = route.path;
        let call = fault_injection::Call {
            dependency: self.guard.name,
            method: "POST",
            route: path,
            deadline,
        };
        let product_id = || product_id_in(body);
        let send = async || {
            self.guard
                .gremlin
                .call(call, product_id, self.send(path, body, deadline))
                .await
        };
        self.call("POST", route, deadline, send).await
    }

    async fn send<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        match self.batchers.iter().find(|batcher| batcher.path() == path) {
            Some(batcher) => batcher.post(body, deadline).await,
            None => self.client.post(path, body, deadline).await,
        }
    }

    /// Gets a route. `query` is appended to its path, and begins with `?` unless it is empty.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status is not an error.
    pub async fn get(
        &self,
        route: Route,
        query: &str,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
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
                .call(call, || None, self.client.get(&path, deadline))
                .await
        };
        self.call("GET", route, deadline, send).await
    }

    /// Makes a call in a span of its own, as the conventions of OpenTelemetry for HTTP clients
    /// demand. Retries are events of the span.
    async fn call(
        &self,
        method: &'static str,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Response, CallError>,
    ) -> Result<Response, CallError> {
        if !trace_context::is_sampled() {
            // The span would not be exported. The call carries the trace of the current request.
            return self.call_and_count(route, deadline, send).await.0;
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
            .call_and_count(route, deadline, send)
            .instrument(span.clone())
            .await;
        if let Ok(response) = &outcome {
            span.record("http.response.status_code", response.status.as_u16());
        }
        if let Some(error) = error {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error);
        }
        outcome
    }

    /// Makes a call and counts its outcome. Returns the outcome, and a description if it is an
    /// error in the sense of the span.
    async fn call_and_count(
        &self,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Response, CallError>,
    ) -> (Result<Response, CallError>, Option<String>) {
        let outcome = self.call_guarded(route, deadline, send).await;
        let (label, error) = match &outcome {
            Ok(response) if response.status.is_server_error() => {
                ("error", Some(response.status.as_str().to_owned()))
            }
            // OpenTelemetry: every status from 400 on is an error of a client span.
            Ok(response) if response.status.is_client_error() => {
                ("answered", Some(response.status.as_str().to_owned()))
            }
            Ok(_) => ("answered", None),
            Err(error @ CallError::TimedOut) => ("timeout", Some(error.to_string())),
            Err(error @ CallError::Rejected(_)) => ("rejected", Some(error.to_string())),
            Err(error) => ("error", Some(error.to_string())),
        };
        self.guard.count_outcome(label);
        (outcome, error)
    }

    /// Makes a call if the circuit breaker and the bulkhead admit it.
    async fn call_guarded(
        &self,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Response, CallError>,
    ) -> Result<Response, CallError> {
        let permit = self.guard.admit(route, self.may_open_breaker)?;
        let _bulkhead = self.guard.bulkhead_permit().await?;
        let outcome = self.send_with_retries(deadline, send).await;
        if let Some(permit) = permit {
            permit.complete(&outcome);
        }
        outcome
    }

    async fn send_with_retries(
        &self,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Response, CallError>,
    ) -> Result<Response, CallError> {
        self.guard.deposit_for_call();
        let mut max_wait = INITIAL_RETRY_WAIT;
        for _ in 0..MAX_RETRIES {
            let outcome = send().await;
            let wait = rand::rng().random_range(Duration::ZERO..=max_wait);
            if !was_certainly_not_handled(&outcome)
                || wait >= deadline.remaining()
                || !self.guard.try_take_retry()
            {
                return outcome;
            }
            tracing::info!(
                dependency = self.guard.name,
                "retrying a call that the service certainly did not handle"
            );
            tokio::time::sleep(wait).await;
            max_wait *= 4;
        }
        send().await
    }
}

/// Returns the `product_id` in the body of a call.
fn product_id_in<T: Serialize>(body: &T) -> Option<String> {
    let body = serde_json::to_value(body).ok()?;
    body.get("product_id")?.as_str().map(str::to_owned)
}

/// Whether the service certainly did not handle a call. Only such a call is retried here; the
/// caller handles the others. A call that was rejected because of a lock has already waited, and a
/// retry would use up the caller's time.
fn was_certainly_not_handled(outcome: &Result<Response, CallError>) -> bool {
    match outcome {
        Ok(response) => response.guarantees_no_effect() && !response.is_locked(),
        Err(error) => matches!(error, CallError::NotConnected(_)),
    }
}
