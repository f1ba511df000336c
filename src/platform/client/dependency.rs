//! Calls to a service that another one depends on.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use serde::Serialize;
use tracing::Instrument;

use super::answer::{Answer, CallError};
use super::guard::{DependencyGuard, Route};
use super::http_client::Client;
use super::request_batch::client::RequestBatcher;
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection;
use crate::platform::observability::trace_context;

const MAX_RETRIES: u32 = 2;
const MIN_RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The client of a dependency in one worker thread.
#[derive(Clone)]
pub struct Dependency {
    client: Client,
    guard: Arc<DependencyGuard>,
    batched_routes: Vec<RequestBatcher>,
    may_open: bool,
}

impl Dependency {
    #[must_use]
    pub fn new(client: Client, guard: Arc<DependencyGuard>) -> Self {
        Self {
            client,
            guard,
            batched_routes: Vec::new(),
            may_open: true,
        }
    }

    /// Returns a client whose calls respect the circuit breakers but do not open them. Recovery
    /// repeats its calls until they succeed, so their failures say little about other calls.
    #[must_use]
    pub fn without_opening_breakers(self) -> Self {
        Self {
            may_open: false,
            ..self
        }
    }

    /// Returns a client that sends calls of this route in batches, where several are made at the
    /// same time and the service takes batches.
    #[must_use]
    pub fn with_batches(mut self, route: Route) -> Self {
        let path = route.path;
        let sizes = self
            .guard
            .metrics
            .batch_size
            .with_label_values(&[self.guard.name, path]);
        self.batched_routes
            .push(RequestBatcher::new(self.client.clone(), path, sizes));
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
                .call(call, product, self.send(path, body, deadline))
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
        match self
            .batched_routes
            .iter()
            .find(|calls| calls.path() == path)
        {
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
                .call(call, || None, self.client.get(&path, deadline))
                .await
        };
        self.call("GET", route, deadline, send).await
    }

    /// Makes a call in a span of its own, by OpenTelemetry's conventions for HTTP clients. Retries are
    /// events of the span.
    async fn call(
        &self,
        method: &'static str,
        route: Route,
        deadline: Deadline,
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        if !trace_context::is_sampled() {
            // The span would not be exported. The call carries the trace of the request.
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

    /// Makes a call and counts its outcome. Returns the outcome, and for a failure its description.
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
            // OpenTelemetry: for a client span every status from 400 on is an error.
            Ok(answer) if answer.status.is_client_error() => {
                ("answered", Some(answer.status.as_str().to_owned()))
            }
            Ok(_) => ("answered", None),
            Err(error @ CallError::TimedOut) => ("timeout", Some(error.to_string())),
            Err(error @ CallError::Rejected(_)) => ("rejected", Some(error.to_string())),
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
        let permit = self.guard.admit(route, self.may_open)?;
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
        send: impl AsyncFn() -> Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        self.guard.count_call_for_retries();
        let mut pause = MIN_RETRY_PAUSE;
        for _ in 0..MAX_RETRIES {
            let outcome = send().await;
            let wait = rand::rng().random_range(Duration::ZERO..=pause);
            if !cannot_have_been_carried_out(&outcome)
                || wait >= deadline.remaining()
                || !self.guard.may_retry()
            {
                return outcome;
            }
            tracing::info!(
                dependency = self.guard.name,
                "retrying a call that cannot have been carried out"
            );
            tokio::time::sleep(wait).await;
            pause *= 4;
        }
        send().await
    }
}

/// Returns the product that the body of a call names.
fn product_of<T: Serialize>(body: &T) -> Option<String> {
    let body = serde_json::to_value(body).ok()?;
    body.get("product_id")?.as_str().map(str::to_owned)
}

/// Whether a call was certainly not carried out. Only such a call is retried here; the saga handles
/// the others. A call that met a lock has waited already, and a retry would use up the caller's
/// time.
fn cannot_have_been_carried_out(outcome: &Result<Answer, CallError>) -> bool {
    match outcome {
        Ok(answer) => answer.promises_nothing_done() && !answer.is_locked(),
        Err(error) => matches!(error, CallError::NotConnected(_)),
    }
}
