//! The side of a request batch that makes the calls.

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
use crate::platform::client::{Answer, CallError, Client, Lines, within};
use crate::platform::deadline::Deadline;
use crate::platform::http::route::BATCH_SUFFIX;
use crate::platform::observability::trace_context::TraceHeaders;

/// Yields to the thread's other tasks before a batch is sent, so that ready calls can still join it.
const YIELDS_BEFORE_SEND: usize = 4;

/// Sends the calls that one thread makes to a route. Clones share it.
#[derive(Clone)]
pub struct RequestBatcher(Rc<Route>);

struct Route {
    client: Client,
    path: &'static str,
    sizes: Histogram,
    /// Calls that the service takes in one batch, by its last response; 0 while it takes none.
    max_batch_size: Cell<usize>,
    pending: RefCell<Vec<PendingCall>>,
}

struct PendingCall {
    body: Box<RawValue>,
    trace: TraceHeaders,
    deadline: Deadline,
    answer: oneshot::Sender<Result<Answer, CallError>>,
}

impl PendingCall {
    fn as_wire(&self) -> BatchCall<'_> {
        let milliseconds = self.deadline.remaining().as_millis();
        BatchCall {
            traceparent: self.trace.traceparent.clone(),
            tracestate: self.trace.tracestate.clone(),
            deadline_ms: u64::try_from(milliseconds).ok(),
            body: &self.body,
        }
    }
}

impl RequestBatcher {
    /// `sizes` observes the size of each batch.
    #[must_use]
    pub fn new(client: Client, path: &'static str, sizes: Histogram) -> Self {
        Self(Rc::new(Route {
            client,
            path,
            sizes,
            max_batch_size: Cell::default(),
            pending: RefCell::default(),
        }))
    }

    #[must_use]
    pub fn path(&self) -> &'static str {
        self.0.path
    }

    /// Makes one call, by itself or in a batch.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: Serialize>(
        &self,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        let route = &self.0;
        if route.max_batch_size.get() < 2 {
            let answer = route.client.post(route.path, body, deadline).await;
            route.note_max_batch_size(&answer);
            return answer;
        }
        let body = to_raw_value(body).map_err(|error| CallError::Unusable(error.to_string()))?;
        let (sender, answer) = oneshot::channel();
        let is_first = {
            let mut pending = route.pending.borrow_mut();
            pending.push(PendingCall {
                body,
                trace: TraceHeaders::current(),
                deadline,
                answer: sender,
            });
            pending.len() == 1
        };
        if is_first {
            tokio::task::spawn_local(Rc::clone(route).flush());
        }
        // The task of the batch ends without an answer only if it panics.
        let broken = |_| Err(CallError::BrokenOff("its batch broke off".to_owned()));
        within(deadline, async { answer.await.unwrap_or_else(broken) }).await
    }
}

impl Route {
    fn note_max_batch_size(&self, answer: &Result<Answer, CallError>) {
        let advertised = answer
            .as_ref()
            .ok()
            .and_then(|answer| answer.max_batch_size);
        self.max_batch_size
            .set(advertised.map_or(0, |size| size.min(MAX_CALLS)));
    }

    /// Sends the pending calls, and those that join them meanwhile.
    async fn flush(self: Rc<Self>) {
        for _ in 0..YIELDS_BEFORE_SEND {
            tokio::task::yield_now().await;
        }
        let mut calls = self.pending.take();
        calls.retain(|call| !call.answer.is_closed());
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

    /// Makes a call by itself. Closes its connection when the caller no longer waits, so that the
    /// service can stop too.
    async fn send_single(&self, call: PendingCall) {
        let PendingCall {
            body,
            trace,
            deadline,
            mut answer,
        } = call;
        let outcome = tokio::select! {
            outcome = self.client.post_in_trace(self.path, &body, &trace, deadline) => outcome,
            () = answer.closed() => return,
        };
        self.note_max_batch_size(&outcome);
        // Fails if the caller no longer waits.
        let _ = answer.send(outcome);
    }

    async fn send_batch(&self, calls: Vec<PendingCall>) {
        #[expect(clippy::cast_precision_loss, reason = "at most MAX_CALLS")]
        self.sizes.observe(calls.len() as f64);
        let deadline = calls
            .iter()
            .map(|call| call.deadline)
            .fold(Deadline::after(Duration::ZERO), Deadline::max);
        let body = serde_json::to_vec(&BatchBody {
            calls: calls.iter().map(PendingCall::as_wire).collect(),
        });
        let mut open: Vec<_> = calls.into_iter().map(Some).collect();
        let outcome = async {
            let body = body.map_err(|error| CallError::Unusable(error.to_string()))?;
            let path = format!("{}{BATCH_SUFFIX}", self.path);
            self.client
                .post_for_lines(&path, body, deadline, |line| answer_one(&mut open, line))
                .await
        }
        .await;
        self.end_batch(open.into_iter().flatten(), outcome).await;
    }

    /// Answers the calls that the response to their batch did not answer.
    async fn end_batch(
        &self,
        unanswered: impl Iterator<Item = PendingCall>,
        outcome: Result<Lines, CallError>,
    ) {
        match outcome {
            // The service began no call of the batch, so each can be sent by itself.
            Ok(Lines::Refused(status))
                if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                tracing::debug!(path = self.path, %status, "the service takes no batches now");
                self.max_batch_size.set(0);
                join_all(unanswered.map(|call| self.send_single(call))).await;
            }
            Ok(Lines::Refused(status)) => {
                fail_all(
                    unanswered,
                    &CallError::Unusable(format!("its batch was answered with {status}")),
                );
            }
            Ok(Lines::Ended) => {
                fail_all(
                    unanswered,
                    &CallError::BrokenOff("its batch ended before it was answered".to_owned()),
                );
            }
            Err(error) => fail_all(unanswered, &error),
        }
    }
}

/// Passes a line of the response to its call. A line that cannot be read is ignored, so its call
/// stays unanswered.
fn answer_one(open: &mut [Option<PendingCall>], line: &[u8]) {
    let Ok(ResponseLine { call, status, body }) =
        serde_json::from_slice::<ResponseLine<&RawValue>>(line)
    else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(status) else {
        return;
    };
    if let Some(call) = open.get_mut(call).and_then(Option::take) {
        // Fails if the caller no longer waits.
        let _ = call
            .answer
            .send(Ok(Answer::new(status, body.get().as_bytes().to_vec())));
    }
}

fn fail_all(unanswered: impl Iterator<Item = PendingCall>, error: &CallError) {
    for call in unanswered {
        // Fails if the caller no longer waits.
        let _ = call.answer.send(Err(error.clone()));
    }
}
