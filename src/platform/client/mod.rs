//! Calls to other services: one deadline for connect, head and body together.

pub mod circuit_breaker;
mod connector;
pub mod dependency;
pub mod request_batch;
pub mod response_stream;

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::web::{Bytes, BytesMut};
use awc::error::{ConnectError, SendRequestError};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use connector::connector;

use super::deadline::{self, Deadline};
use super::http::problem::Problem;
use super::observability::telemetry;
use super::observability::telemetry::TraceHeaders;

/// An answer of one of our services is never larger.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024;
/// Metrics are longer.
const FORWARD_LIMIT_BYTES: usize = 1024 * 1024;

/// Where a service is: `http://host:port`, with an optional path before its routes.
#[derive(Debug, Clone)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// It is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let uri = self.0.parse::<Uri>().ok();
        let host = uri
            .as_ref()
            .and_then(Uri::host)
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::str::FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(
                "no service asks for a user's name or a password in its address".to_owned(),
            );
        }
        let plain = uri.scheme_str() == Some("http") && uri.query().is_none();
        let after_scheme = text
            .split_once("://")
            .map(|(_, rest)| rest.trim_end_matches('/'));
        match uri.host().zip(after_scheme) {
            // Whichever way the scheme was written.
            Some((host, rest)) if plain && !host.is_empty() => Ok(Self(format!("http://{rest}"))),
            _ => Err("it is not an address of that form".to_owned()),
        }
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no answer to go by.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The other side never saw the request.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// It may have been carried out or not, now or later.
    #[error("no answer in time")]
    TimedOut,
    /// The same, known sooner.
    #[error("broken off: {0}")]
    BrokenOff(String),
    /// The call was not even begun.
    #[error("not tried: {0}")]
    NotTried(&'static str),
    /// An answer that makes no sense, so that what was done is unknown.
    #[error("unusable answer: {0}")]
    Unusable(String),
}

/// An answer: its status, and its body as it came.
pub struct Answer {
    pub status: StatusCode,
    /// Calls that would be taken together, where the service said so.
    pub bundle: Option<usize>,
    body: Vec<u8>,
}

impl Answer {
    #[must_use]
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self {
            status,
            bundle: None,
            body,
        }
    }

    /// An answer that nobody sent: the request was not carried out.
    #[must_use]
    pub fn made_up(status: StatusCode) -> Self {
        Self::new(status, br#"{"code":"injected-fault"}"#.to_vec())
    }

    /// A 503 of one of our services: nothing was done, and nothing will be. A 503 without a problem
    /// document comes from something in between, which cannot know.
    #[must_use]
    pub fn promises_nothing_done(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self
                .code()
                .is_some_and(|code| code != Problem::OUTCOME_UNKNOWN)
    }

    /// The service is well, and a lock is held on what this request needs.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.code().as_deref() == Some(Problem::LOCKED)
    }

    /// Of a problem document.
    fn code(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Coded {
            code: String,
        }
        serde_json::from_slice::<Coded>(&self.body)
            .ok()
            .map(|coded| coded.code)
    }

    /// # Errors
    /// When the body is not what the service's contract says.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| CallError::Unusable(format!("{}: {error}", self.status)))
    }
}

/// How a request for lines ended.
pub enum Lines {
    /// All that was to come was handed over.
    Ended,
    /// There are none.
    Refused(StatusCode),
}

/// A client of one service; one per worker, because connections belong to a worker.
#[derive(Clone)]
pub struct Client {
    http: awc::Client,
    base: BaseUrl,
}

impl Client {
    #[must_use]
    pub fn new(base: BaseUrl) -> Self {
        Self::with_token(base, None)
    }

    /// One that shows a token with each call.
    #[must_use]
    pub fn with_token(base: BaseUrl, token: Option<&str>) -> Self {
        // The deadline of each call bounds the whole of it.
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
    /// See [`CallError`]; an error status is an answer, not an error.
    pub async fn post<T: Serialize>(
        &self,
        path: &str,
        body: &T,
        deadline: Deadline,
    ) -> Result<Answer, CallError> {
        self.post_in_trace(path, body, &TraceHeaders::current(), deadline)
            .await
    }

    /// In the name of somebody whose trace this is.
    ///
    /// # Errors
    /// As [`Client::post`].
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

    /// Sends JSON, and hands over the answer line by line, as it comes.
    ///
    /// # Errors
    /// See [`CallError`]: whatever was not handed over by then did not come.
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

/// A request of someone else's.
pub struct Forwarded<'a> {
    pub method: Method,
    pub path: &'a str,
    pub authorization: Option<HeaderValue>,
    pub body: Bytes,
}

/// Its answer, as it came.
pub struct ForwardedAnswer {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

impl Client {
    /// Passes on someone else's request.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn forward(
        &self,
        wish: Forwarded<'_>,
        deadline: Deadline,
    ) -> Result<ForwardedAnswer, CallError> {
        let Forwarded {
            method,
            path,
            authorization,
            body,
        } = wish;
        let mut request = prepared(
            self.http.request(method, format!("{}{path}", self.base)),
            deadline,
        );
        if let Some(authorization) = authorization {
            request = request.insert_header((header::AUTHORIZATION, authorization));
        }
        within(deadline, async {
            let mut response = request.send_body(body).await.map_err(not_answered)?;
            let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
            let body = response.body().limit(FORWARD_LIMIT_BYTES).await;
            let body = body.map_err(|error| CallError::BrokenOff(error.to_string()))?;
            Ok(ForwardedAnswer {
                status: response.status(),
                content_type,
                body,
            })
        })
        .await
    }
}

/// The trace goes along, and how long the answer will still be of use.
fn prepared(request: awc::ClientRequest, deadline: Deadline) -> awc::ClientRequest {
    in_trace(request, &TraceHeaders::current(), deadline)
}

fn in_trace(
    mut request: awc::ClientRequest,
    trace: &TraceHeaders,
    deadline: Deadline,
) -> awc::ClientRequest {
    if let Some(traceparent) = &trace.traceparent {
        request = request.insert_header((telemetry::TRACEPARENT, traceparent.as_str()));
    }
    if let Some(tracestate) = &trace.tracestate {
        request = request.insert_header((telemetry::TRACESTATE, tracestate.as_str()));
    }
    request.insert_header((
        deadline::HEADER,
        deadline.remaining().as_millis().to_string(),
    ))
}

/// # Errors
/// When the call does not end before its deadline; and its own.
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
    let bundle = response
        .headers()
        .get(request_batch::OFFER)
        .and_then(|most| most.to_str().ok()?.parse().ok());
    let body = response
        .body()
        .limit(ANSWER_LIMIT_BYTES)
        .await
        .map_err(|error| CallError::BrokenOff(error.to_string()))?;
    Ok(Answer {
        status,
        bundle,
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

fn not_answered(error: SendRequestError) -> CallError {
    match error {
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
            CallError::TimedOut
        }
        // awc's name for a connection that was there, and closed before the answer came.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            CallError::BrokenOff("closed before an answer came".to_owned())
        }
        SendRequestError::Connect(error) => CallError::NotConnected(error.to_string()),
        error => CallError::BrokenOff(error.to_string()),
    }
}
