//! Calls to one service: one deadline bounds connect, head and body together.

use std::time::Duration;

use actix_web::error::PayloadError;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut};
use awc::error::{ConnectError, SendRequestError};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use super::answer::{Answer, CallError, MAX_BATCH_SIZE};
use super::base_url::BaseUrl;
use super::connector::connector;
use crate::platform::deadline::{self, Deadline};
use crate::platform::observability::trace_context::{self, TraceHeaders};

/// Upper bound on the responses of our own services.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024;

/// How a request ended whose response is lines.
pub enum Lines {
    /// The response is complete.
    Ended,
    /// The service rejected the request with this status.
    Refused(StatusCode),
}

/// A client of one service. Each worker thread has its own, because connections belong to a thread.
#[derive(Clone)]
pub struct Client {
    pub(super) http: awc::Client,
    pub(super) base: BaseUrl,
}

impl Client {
    #[must_use]
    pub fn new(base: BaseUrl) -> Self {
        Self::with_token(base, None)
    }

    /// Returns a client that sends a token with each call.
    #[must_use]
    pub fn with_token(base: BaseUrl, token: Option<&str>) -> Self {
        // Each call has a deadline.
        let builder = awc::Client::builder().connector(connector());
        let builder = builder
            .disable_timeout()
            .disable_redirects()
            .no_default_headers();
        let builder = match token {
            Some(token) => builder.bearer_auth(token),
            None => builder,
        };
        Self {
            http: builder.finish(),
            base,
        }
    }

    /// # Errors
    /// See [`CallError`]. A response with an error status is not an error.
    pub async fn post<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        self.post_in_trace(path, body, &TraceHeaders::current(), deadline)
            .await
    }

    /// Sends a request in the given trace.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub async fn post_in_trace<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        trace: &TraceHeaders,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        let request = in_trace(
            self.http.post(format!("{}{path}", self.base)),
            trace,
            deadline,
        );
        within(deadline, async {
            read(request.send_json(body).await).await
        })
        .await
    }

    /// Sends JSON, and calls `each` with every line of the response as soon as it arrives.
    ///
    /// # Errors
    /// See [`CallError`]. Lines for which `each` was not called did not arrive.
    pub async fn post_for_lines(
        &self,
        path: &str,
        json: Vec<u8>,
        deadline: Deadline,
        each: impl FnMut(&[u8]),
    ) -> Result<Lines, CallError> {
        let untraced = TraceHeaders::unsampled();
        let request = in_trace(
            self.http.post(format!("{}{path}", self.base)),
            &untraced,
            deadline,
        );
        within(deadline, async {
            let request = request.content_type("application/json");
            let response = request.send_body(json).await.map_err(not_answered)?;
            if response.status() != StatusCode::OK {
                return Ok(Lines::Refused(response.status()));
            }
            read_lines(response, each).await?;
            Ok(Lines::Ended)
        })
        .await
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn get(&self, path: &str, deadline: Deadline) -> Result<Answer, CallError> {
        let request = self.http.get(format!("{}{path}", self.base));
        within(deadline, async {
            read(prepared(request, deadline).send().await).await
        })
        .await
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn delete(&self, path: &str, deadline: Deadline) -> Result<Answer, CallError> {
        let request = self.http.delete(format!("{}{path}", self.base));
        within(deadline, async {
            read(prepared(request, deadline).send().await).await
        })
        .await
    }
}

/// Adds the headers of the current trace and of the deadline.
pub(super) fn prepared(request: awc::ClientRequest, deadline: Deadline) -> awc::ClientRequest {
    in_trace(request, &TraceHeaders::current(), deadline)
}

fn in_trace(
    mut request: awc::ClientRequest,
    trace: &TraceHeaders,
    deadline: Deadline,
) -> awc::ClientRequest {
    if let Some(traceparent) = &trace.traceparent {
        request = request.insert_header((trace_context::TRACEPARENT, traceparent.as_str()));
    }
    if let Some(tracestate) = &trace.tracestate {
        request = request.insert_header((trace_context::TRACESTATE, tracestate.as_str()));
    }
    request.insert_header((
        deadline::HEADER,
        deadline.remaining().as_millis().to_string(),
    ))
}

/// Bounds a call by its deadline.
///
/// # Errors
/// `TimedOut` at the deadline; otherwise those of the call.
pub async fn within<T>(
    deadline: Deadline,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let remaining = deadline.remaining();
    if remaining == Duration::ZERO {
        return Err(CallError::TimedOut);
    }
    tokio::time::timeout(remaining, call)
        .await
        .map_err(|_| CallError::TimedOut)?
}

async fn read<S>(
    response: Result<awc::ClientResponse<S>, SendRequestError>,
) -> Result<Answer, CallError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut response = response.map_err(not_answered)?;
    let status = response.status();
    let max_batch_size = response
        .headers()
        .get(MAX_BATCH_SIZE)
        .and_then(|most| most.to_str().ok()?.parse().ok());
    let body = response
        .body()
        .limit(ANSWER_LIMIT_BYTES)
        .await
        .map_err(|error| CallError::BrokenOff(error.to_string()))?;
    Ok(Answer {
        status,
        max_batch_size,
        body: body.to_vec(),
    })
}

async fn read_lines<S>(
    mut response: awc::ClientResponse<S>,
    mut each: impl FnMut(&[u8]),
) -> Result<(), CallError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut begun = BytesMut::new();
    while let Some(chunk) = response.next().await {
        begun.extend_from_slice(&chunk.map_err(|error| CallError::BrokenOff(error.to_string()))?);
        while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
            each(&begun.split_to(end + 1));
        }
        if begun.len() > ANSWER_LIMIT_BYTES {
            return Err(CallError::Unusable("a line is too long".to_owned()));
        }
    }
    Ok(())
}

pub(super) fn not_answered(error: SendRequestError) -> CallError {
    match error {
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
            CallError::TimedOut
        }
        // awc calls a connection so that closed before the response arrived.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            CallError::BrokenOff("the connection closed before a response arrived".to_owned())
        }
        SendRequestError::Connect(error) => CallError::NotConnected(error.to_string()),
        error => CallError::BrokenOff(error.to_string()),
    }
}
