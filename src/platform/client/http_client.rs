//! Calls to one service. The deadline of a call covers connecting, the head and the body together.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut};
use awc::error::{ConnectError, SendRequestError};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use super::base_url::BaseUrl;
use super::connector::connector;
use super::response::{CallError, MAX_BATCH_SIZE_HEADER, Response};
use crate::platform::deadline::{self, Deadline};
use crate::platform::observability::trace_context::{self, TraceHeaders};

/// Upper bound on the body of a response, unless a client has another one, and on one line of the
/// response to a batch. The services send less to each other.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// How a request ended whose response is read line by line.
pub enum LinesOutcome {
    /// All lines arrived.
    Complete,
    /// The service rejected the request with this status, which is not 200.
    Rejected(StatusCode),
}

/// A client of one service. Each worker thread has its own, because connections belong to a thread.
#[derive(Clone)]
pub struct Client {
    pub(super) http: awc::Client,
    pub(super) base: BaseUrl,
    max_response_bytes: usize,
}

impl Client {
    #[must_use]
    pub fn new(base: BaseUrl) -> Self {
        Self::with_token(base, None)
    }

    /// Returns a client that sends the token, if there is one, as a bearer token with each call.
    #[must_use]
    pub fn with_token(base: BaseUrl, token: Option<&str>) -> Self {
        // The deadline of each call replaces the timeout of awc.
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
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }

    /// Returns a client that also reads responses of up to this many bytes.
    #[must_use]
    pub fn with_max_response_bytes(self, max_response_bytes: usize) -> Self {
        Self {
            max_response_bytes,
            ..self
        }
    }

    /// Sends JSON in the current trace.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status is not an error.
    pub async fn post<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        self.post_in_trace(path, body, &TraceHeaders::current(), deadline)
            .await
    }

    /// Sends JSON in another trace than the current one.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub async fn post_in_trace<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        trace: &TraceHeaders,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        let request = in_trace(
            self.http.post(format!("{}{path}", self.base)),
            trace,
            deadline,
        );
        within(deadline, async {
            self.read(request.send_json(body).await).await
        })
        .await
    }

    /// Sends JSON with the method PUT, in the current trace.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub async fn put<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        let request = self.http.put(format!("{}{path}", self.base));
        within(deadline, async {
            let request = in_current_trace(request, deadline);
            self.read(request.send_json(body).await).await
        })
        .await
    }

    /// Sends JSON, and passes each line of the response to `on_line` as soon as the line is
    /// complete.
    ///
    /// # Errors
    /// See [`CallError`]. Some lines may have been passed on before the error.
    pub async fn post_for_lines(
        &self,
        path: &str,
        json: Vec<u8>,
        deadline: Deadline,
        on_line: impl FnMut(&[u8]),
    ) -> Result<LinesOutcome, CallError> {
        let untraced = TraceHeaders::unsampled();
        let request = in_trace(
            self.http.post(format!("{}{path}", self.base)),
            &untraced,
            deadline,
        );
        within(deadline, async {
            let request = request.content_type("application/json");
            let response = request.send_body(json).await.map_err(send_failure)?;
            if response.status() != StatusCode::OK {
                return Ok(LinesOutcome::Rejected(response.status()));
            }
            read_lines(response, on_line).await?;
            Ok(LinesOutcome::Complete)
        })
        .await
    }

    /// Sends a GET request in the current trace.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status is not an error.
    pub async fn get(&self, path: &str, deadline: Deadline) -> Result<Response, CallError> {
        let request = self.http.get(format!("{}{path}", self.base));
        within(deadline, async {
            self.read(in_current_trace(request, deadline).send().await)
                .await
        })
        .await
    }

    /// Sends a DELETE request in the current trace.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status is not an error.
    pub async fn delete(&self, path: &str, deadline: Deadline) -> Result<Response, CallError> {
        let request = self.http.delete(format!("{}{path}", self.base));
        within(deadline, async {
            self.read(in_current_trace(request, deadline).send().await)
                .await
        })
        .await
    }

    async fn read<S>(
        &self,
        response: Result<awc::ClientResponse<S>, SendRequestError>,
    ) -> Result<Response, CallError>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    {
        let mut response = response.map_err(send_failure)?;
        let status = response.status();
        let max_batch_size = response
            .headers()
            .get(MAX_BATCH_SIZE_HEADER)
            .and_then(|size| size.to_str().ok()?.parse().ok());
        let body = response
            .body()
            .limit(self.max_response_bytes)
            .await
            .map_err(|error| CallError::Interrupted(error.to_string()))?;
        Ok(Response {
            status,
            max_batch_size,
            body: body.to_vec(),
        })
    }
}

/// Adds the headers of the current trace, and the deadline.
pub(super) fn in_current_trace(
    request: awc::ClientRequest,
    deadline: Deadline,
) -> awc::ClientRequest {
    in_trace(request, &TraceHeaders::current(), deadline)
}

/// Adds the headers of a trace, and the deadline.
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
    request
        .insert_header((
            deadline::DEADLINE_HEADER,
            deadline.remaining().as_millis().to_string(),
        ))
        .insert_header((deadline::DEADLINE_AT_HEADER, deadline.unix_millis()))
}

/// Ends a call at its deadline.
///
/// # Errors
/// [`CallError::TimedOut`] at the deadline, and those of the call.
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

async fn read_lines<S>(
    mut response: awc::ClientResponse<S>,
    mut on_line: impl FnMut(&[u8]),
) -> Result<(), CallError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut buffer = BytesMut::new();
    while let Some(chunk) = response.next().await {
        buffer
            .extend_from_slice(&chunk.map_err(|error| CallError::Interrupted(error.to_string()))?);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            on_line(&buffer.split_to(end + 1));
        }
        if buffer.len() > MAX_RESPONSE_BYTES {
            return Err(CallError::Unusable("a line is too long".to_owned()));
        }
    }
    Ok(())
}

/// Returns why a request has no response head.
pub(super) fn send_failure(error: SendRequestError) -> CallError {
    match error {
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
            CallError::TimedOut
        }
        // awc reports this when the connection closes before the response.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            CallError::Interrupted("the connection closed before a response arrived".to_owned())
        }
        SendRequestError::Connect(error) => CallError::NotConnected(error.to_string()),
        error => CallError::Interrupted(error.to_string()),
    }
}
