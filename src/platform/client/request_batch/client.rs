//! Sends calls in batches.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::StatusCode;
use futures_util::future::join_all;
use prometheus::Histogram;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use super::wire::{BatchBody, BatchCall, MAX_CALLS, ResponseLine};
use crate::platform::client::{CallError, Client, LinesOutcome, Response, within};
use crate::platform::deadline::Deadline;
use crate::platform::http::route::BATCH_SUFFIX;
use crate::platform::observability::trace_context::TraceHeaders;

/// Upper bound on the yields to the thread's other tasks before a batch is sent, so that ready
/// calls can still join it. The first one during which no call joins is the last.
const MAX_YIELDS: usize = 4;

/// Sends the calls that one thread makes to a route. Clones share the pending calls.
#[derive(Clone)]
pub struct RequestBatcher(Rc<BatchedRoute>);

struct BatchedRoute {
    client: Client,
    path: &'static str,
    size_histogram: Histogram,
    /// The largest batch that the service takes, by its last response; 0 while it takes none.
    max_batch_size: Cell<usize>,
    pending: RefCell<Vec<PendingCall>>,
}

struct PendingCall {
    body: Box<RawValue>,
    trace: TraceHeaders,
    deadline: Deadline,
    sender: oneshot::Sender<Result<Response, CallError>>,
}

impl PendingCall {
    fn to_wire(&self) -> BatchCall<'_> {
        let milliseconds = self.deadline.remaining().as_millis();
        BatchCall {
            traceparent: self.trace.traceparent.clone(),
            tracestate: self.trace.tracestate.clone(),
            deadline_ms: u64::try_from(milliseconds).ok(),
            deadline_at: Some(self.deadline.unix_millis()),
            body: &self.body,
        }
    }
}

impl RequestBatcher {
    /// `size_histogram` observes the number of calls in each batch.
    #[must_use]
    pub fn new(client: Client, path: &'static str, size_histogram: Histogram) -> Self {
        Self(Rc::new(BatchedRoute {
            client,
            path,
            size_histogram,
            max_batch_size: Cell::default(),
            pending: RefCell::default(),
        }))
    }

    #[must_use]
    pub fn path(&self) -> &'static str {
        self.0.path
    }

    /// Makes one call, as a request of its own or in a batch.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: Serialize>(
        &self,
        body: &T,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        let route = &self.0;
        if route.max_batch_size.get() < 2 {
            let response = route.client.post(route.path, body, deadline).await;
            route.update_max_batch_size(&response);
            return response;
        }
        let body = to_raw_value(body).map_err(|error| CallError::Unusable(error.to_string()))?;
        let (sender, response) = oneshot::channel();
        let is_first = {
            let mut pending = route.pending.borrow_mut();
            pending.push(PendingCall {
                body,
                trace: TraceHeaders::current(),
                deadline,
                sender,
            });
            pending.len() == 1
        };
        if is_first {
            tokio::task::spawn_local(Rc::clone(route).flush());
        }
        // The sender is dropped without a response only if the task of the batch panics.
        let dropped = |_| {
            Err(CallError::Interrupted(
                "the task of its batch panicked".to_owned(),
            ))
        };
        within(deadline, async { response.await.unwrap_or_else(dropped) }).await
    }
}

impl BatchedRoute {
    fn update_max_batch_size(&self, response: &Result<Response, CallError>) {
        let advertised = response
            .as_ref()
            .ok()
            .and_then(|response| response.max_batch_size);
        self.max_batch_size
            .set(advertised.map_or(0, |size| size.min(MAX_CALLS)));
    }

    /// Sends the pending calls, and those that other ready tasks make before the batch is sent.
    async fn flush(self: Rc<Self>) {
        for _ in 0..MAX_YIELDS {
            let before = self.pending.borrow().len();
            tokio::task::yield_now().await;
            if self.pending.borrow().len() == before {
                break;
            }
        }
        let mut calls = self.pending.take();
        calls.retain(|call| !call.sender.is_closed());
        let max = self.max_batch_size.get().max(1);
        while calls.len() > max {
            let rest = calls.split_off(max);
            let batch = std::mem::replace(&mut calls, rest);
            tokio::task::spawn_local(Rc::clone(&self).send(batch));
        }
        self.send(calls).await;
    }

    async fn send(self: Rc<Self>, mut calls: Vec<PendingCall>) {
        if calls.len() > 1 {
            self.send_batch(calls).await;
        } else if let Some(call) = calls.pop() {
            self.send_single(call).await;
        }
    }

    /// Sends a call as a request of its own. Closes its connection when the caller no longer waits,
    /// so that the service can stop working on it.
    async fn send_single(&self, call: PendingCall) {
        let PendingCall {
            body,
            trace,
            deadline,
            mut sender,
        } = call;
        let outcome = tokio::select! {
            outcome = self.client.post_in_trace(self.path, &body, &trace, deadline) => outcome,
            () = sender.closed() => return,
        };
        self.update_max_batch_size(&outcome);
        // Fails if the caller no longer waits.
        let _ = sender.send(outcome);
    }

    async fn send_batch(&self, calls: Vec<PendingCall>) {
        #[expect(clippy::cast_precision_loss, reason = "at most MAX_CALLS")]
        self.size_histogram.observe(calls.len() as f64);
        let deadline = calls
            .iter()
            .map(|call| call.deadline)
            .fold(Deadline::after(Duration::ZERO), Deadline::max);
        let body = serde_json::to_vec(&BatchBody {
            calls: calls.iter().map(PendingCall::to_wire).collect(),
        });
        let mut unanswered: Vec<_> = calls.into_iter().map(Some).collect();
        let outcome = async {
            let body = body.map_err(|error| CallError::Unusable(error.to_string()))?;
            let path = format!("{}{BATCH_SUFFIX}", self.path);
            self.client
                .post_for_lines(&path, body, deadline, |line| {
                    pass_to_caller(&mut unanswered, line);
                })
                .await
        }
        .await;
        self.finish_unanswered(unanswered.into_iter().flatten(), outcome)
            .await;
    }

    /// Ends the calls for which the response to the batch had no line.
    async fn finish_unanswered(
        &self,
        unanswered: impl Iterator<Item = PendingCall>,
        outcome: Result<LinesOutcome, CallError>,
    ) {
        match outcome {
            // The service started no call of the batch, so each can be sent as a single call.
            Ok(LinesOutcome::Rejected(status))
                if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                tracing::debug!(path = self.path, %status, "batch rejected; sending single calls");
                self.max_batch_size.set(0);
                join_all(unanswered.map(|call| self.send_single(call))).await;
            }
            Ok(LinesOutcome::Rejected(status)) => {
                fail_all(
                    unanswered,
                    &CallError::Unusable(format!(
                        "the response to its batch has the status {status}"
                    )),
                );
            }
            Ok(LinesOutcome::Complete) => {
                fail_all(
                    unanswered,
                    &CallError::Interrupted("its batch ended without a response to it".to_owned()),
                );
            }
            Err(error) => fail_all(unanswered, &error),
        }
    }
}

/// Passes a line of the response to the caller that waits for it. A line that cannot be parsed is
/// ignored, so its call stays unanswered.
fn pass_to_caller(unanswered: &mut [Option<PendingCall>], line: &[u8]) {
    let Ok(ResponseLine { call, status, body }) =
        serde_json::from_slice::<ResponseLine<&RawValue>>(line)
    else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(status) else {
        return;
    };
    if let Some(call) = unanswered.get_mut(call).and_then(Option::take) {
        // Fails if the caller no longer waits.
        let _ = call
            .sender
            .send(Ok(Response::new(status, body.get().as_bytes().to_vec())));
    }
}

fn fail_all(unanswered: impl Iterator<Item = PendingCall>, error: &CallError) {
    for call in unanswered {
        // Fails if the caller no longer waits.
        let _ = call.sender.send(Err(error.clone()));
    }
}
