//! Bundles as the service that makes the calls sees them.

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

/// How often a bundle lets the thread's other tasks have their turn before it goes: what they call
/// can still come along.
const TURNS: usize = 4;

/// The calls of one route that a thread makes. Clones share it.
#[derive(Clone)]
pub struct Calls(Rc<Route>);

struct Route {
    client: Client,
    path: &'static str,
    sizes: Histogram,
    /// Calls that the service takes in one bundle; it has not said that it takes any while this is
    /// 0.
    offered: Cell<usize>,
    waiting: RefCell<Vec<Waiting>>,
}

struct Waiting {
    body: Box<RawValue>,
    trace: TraceHeaders,
    deadline: Deadline,
    answer: oneshot::Sender<Result<Answer, CallError>>,
}

impl Calls {
    /// `sizes` is told the calls of each bundle.
    #[must_use]
    pub fn new(client: Client, path: &'static str, sizes: Histogram) -> Self {
        let (offered, waiting) = (Cell::default(), RefCell::default());
        Self(Rc::new(Route {
            client,
            path,
            sizes,
            offered,
            waiting,
        }))
    }

    #[must_use]
    pub fn path(&self) -> &'static str {
        self.0.path
    }

    /// Makes one call, alone or together with others.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: Serialize>(
        &self,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        let route = &self.0;
        if route.offered.get() < 2 {
            let answer = route.client.post(route.path, body, deadline).await;
            route.note_offer(&answer);
            return answer;
        }
        let body = to_raw_value(body).map_err(|error| CallError::Unusable(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut waiting = route.waiting.borrow_mut();
            waiting.push(Waiting {
                body,
                trace: TraceHeaders::current(),
                deadline,
                answer,
            });
            waiting.len() == 1
        };
        if first {
            tokio::task::spawn_local(Rc::clone(route).go());
        }
        // Given up by whoever was to answer, which only a panic explains.
        let broken = |_| Err(CallError::BrokenOff("its bundle broke off".to_owned()));
        within(deadline, async { answered.await.unwrap_or_else(broken) }).await
    }
}

impl Route {
    fn note_offer(&self, answer: &Result<Answer, CallError>) {
        self.offered.set(
            answer
                .as_ref()
                .ok()
                .and_then(|answer| answer.max_batch_size)
                .map_or(0, |most| most.min(MAX_CALLS)),
        );
    }

    /// Sends what waits, and what comes along with it.
    async fn go(self: Rc<Self>) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let mut waiting = self.waiting.take();
        waiting.retain(|call| !call.answer.is_closed());
        let most = self.offered.get().max(1);
        while waiting.len() > most {
            let rest = waiting.split_off(most);
            tokio::task::spawn_local(Rc::clone(&self).send(std::mem::replace(&mut waiting, rest)));
        }
        self.send(waiting).await;
    }

    async fn send(self: Rc<Self>, calls: Vec<Waiting>) {
        if calls.len() > 1 {
            return self.together(calls).await;
        }
        for only in calls {
            self.alone(only).await;
        }
    }

    /// Until nobody waits for the answer any more: then the service need not go on either.
    async fn alone(&self, call: Waiting) {
        let Waiting {
            body,
            trace,
            deadline,
            mut answer,
        } = call;
        let outcome = tokio::select! {
            outcome = self.client.post_in_trace(self.path, &body, &trace, deadline) => outcome,
            () = answer.closed() => return,
        };
        self.note_offer(&outcome);
        // Who has gone needs no answer.
        let _ = answer.send(outcome);
    }

    async fn together(&self, calls: Vec<Waiting>) {
        #[expect(clippy::cast_precision_loss, reason = "at most MAX_CALLS")]
        self.sizes.observe(calls.len() as f64);
        let deadline = calls
            .iter()
            .map(|call| call.deadline)
            .fold(Deadline::after(Duration::ZERO), Deadline::max);
        let sent = serde_json::to_vec(&BatchBody {
            calls: calls.iter().map(Waiting::as_sent).collect(),
        });
        let mut open: Vec<_> = calls.into_iter().map(Some).collect();
        let outcome = async {
            let sent = sent.map_err(|error| CallError::Unusable(error.to_string()))?;
            let path = format!("{}{BATCH_SUFFIX}", self.path);
            self.client
                .post_for_lines(&path, sent, deadline, |line| answer_one(&mut open, line))
                .await
        }
        .await;
        let unanswered = open.into_iter().flatten();
        match outcome {
            // No call was begun, and each may still be welcome by itself.
            Ok(Lines::Refused(status))
                if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                tracing::debug!(path = self.path, %status, "no bundles are taken now");
                self.offered.set(0);
                join_all(unanswered.map(|call| self.alone(call))).await;
            }
            Ok(Lines::Refused(status)) => {
                give_up(
                    unanswered,
                    &CallError::Unusable(format!("its bundle was answered with {status}")),
                );
            }
            Ok(Lines::Ended) => {
                give_up(
                    unanswered,
                    &CallError::BrokenOff("its bundle ended before it was answered".to_owned()),
                );
            }
            Err(error) => give_up(unanswered, &error),
        }
    }
}

impl Waiting {
    fn as_sent(&self) -> BatchCall<'_> {
        let left = u64::try_from(self.deadline.remaining().as_millis()).ok();
        let TraceHeaders {
            traceparent,
            tracestate,
        } = self.trace.clone();
        BatchCall {
            traceparent,
            tracestate,
            deadline_ms: left,
            body: &self.body,
        }
    }
}

/// Gives a line to whoever waits for it. One that makes no sense is nobody's, and its call stays
/// unanswered.
fn answer_one(open: &mut [Option<Waiting>], line: &[u8]) {
    let Ok(ResponseLine { call, status, body }) =
        serde_json::from_slice::<ResponseLine<&RawValue>>(line)
    else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(status) else {
        return;
    };
    if let Some(call) = open.get_mut(call).and_then(Option::take) {
        // Who has gone needs no answer.
        let _ = call
            .answer
            .send(Ok(Answer::new(status, body.get().as_bytes().to_vec())));
    }
}

fn give_up(unanswered: impl Iterator<Item = Waiting>, error: &CallError) {
    for call in unanswered {
        // As above.
        let _ = call.answer.send(Err(error.clone()));
    }
}
