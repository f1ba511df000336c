//! Responds to batches of calls.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderValue;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

use super::wire::{
    BatchBody, BatchCall, MAX_BATCH_BODY_BYTES, MAX_CALLS, MEDIA_TYPE, ResponseLine,
};
use crate::platform::client::MAX_BATCH_SIZE_HEADER;
use crate::platform::deadline::{ArrivalTime, Deadline};
use crate::platform::fault_injection::Gremlin;
use crate::platform::http::extract::{
    FromFields, MAX_BODY_BYTES, read_body, read_json, too_large, without_bom,
};
use crate::platform::http::marker::BatchEnvelope;
use crate::platform::http::metrics::HttpMetrics;
use crate::platform::http::middleware::{access_log, request_span};
use crate::platform::http::problem::{FieldError, Problem};
use crate::platform::http::problem_body::INTERNAL_ERROR_JSON;
use crate::platform::http::route::BATCH_SUFFIX;
use crate::platform::observability::trace_context::TraceHeaders;

/// Middleware for a route that takes batches: adds the header `x-max-batch-size` to its responses,
/// unless the gremlin has a fault to inject.
///
/// # Errors
/// Those of the route.
pub async fn advertise_batches<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let is_idle = request
        .app_data::<web::Data<Gremlin>>()
        .is_none_or(|gremlin| gremlin.is_idle());
    let mut response = next.call(request).await?;
    if is_idle {
        response
            .headers_mut()
            .insert(MAX_BATCH_SIZE_HEADER, HeaderValue::from(MAX_CALLS));
    }
    Ok(response)
}

/// Extractor: the calls of a batch. Each is validated as a request of its own.
pub struct Batch<T> {
    /// The route that each call is made to.
    route: Rc<str>,
    /// When the batch arrived.
    arrived: ArrivalTime,
    calls: Vec<Call<T>>,
    metrics: web::Data<HttpMetrics>,
}

struct Call<T> {
    span: Span,
    /// The body and the deadline, or why they are not valid.
    request: Result<(T, Deadline), Problem>,
}

impl<T: FromFields> FromRequest for Batch<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, body) = (
            request.clone(),
            read_body(request, payload, MAX_BATCH_BODY_BYTES),
        );
        Box::pin(async move {
            // Each fault of the gremlin must hit one call.
            if request
                .app_data::<web::Data<Gremlin>>()
                .is_some_and(|gremlin| !gremlin.is_idle())
            {
                let detail = "The gremlin injects faults, which hit single calls. \
                    Send the calls one by one.";
                return Err(Problem::new(StatusCode::CONFLICT, "one-by-one", detail));
            }
            let body = body.await?;
            let batch = Self::new(&request, parse_calls(&body)?)?;
            // From here on each call is counted and logged instead of the request that holds them.
            request.extensions_mut().insert(BatchEnvelope);
            Ok(batch)
        })
    }
}

impl<T: FromFields> Batch<T> {
    fn new(request: &HttpRequest, calls: Vec<BatchCall<'_>>) -> Result<Self, Problem> {
        let metrics = request
            .app_data::<web::Data<HttpMetrics>>()
            .cloned()
            .ok_or_else(|| Problem::internal("the metrics are not registered"))?;
        // The pattern and not the path, because the same path can be written in several ways.
        let pattern = request.match_pattern().unwrap_or_default();
        let route: Rc<str> = pattern
            .strip_suffix(BATCH_SUFFIX)
            .unwrap_or(&pattern)
            .into();
        let arrived = request
            .extensions()
            .get::<ArrivalTime>()
            .copied()
            .unwrap_or_else(ArrivalTime::now);
        let calls = calls
            .into_iter()
            .map(|call| Call::new(call, &route, arrived));
        let calls = calls.collect();
        Ok(Self {
            route,
            arrived,
            calls,
            metrics,
        })
    }
}

impl<T: FromFields> Call<T> {
    fn new(call: BatchCall<'_>, route: &str, arrived: ArrivalTime) -> Self {
        let caller = TraceHeaders {
            traceparent: call.traceparent,
            tracestate: call.tracestate,
        };
        Self {
            span: request_span::request_span("POST", route, route, &caller),
            request: Deadline::of_caller(
                ["deadline_ms", "deadline_at"],
                arrived,
                call.deadline_ms,
                call.deadline_at,
            )
            .and_then(|deadline| Ok((parse_body(call.body.get())?, deadline))),
        }
    }
}

/// Parses the body of one call.
fn parse_body<T: FromFields>(body: &str) -> Result<T, Problem> {
    if body.len() > MAX_BODY_BYTES {
        Err(too_large(MAX_BODY_BYTES))
    } else {
        read_json(body.as_bytes())
    }
}

/// Parses the calls of a batch, but not their bodies.
fn parse_calls(body: &[u8]) -> Result<Vec<BatchCall<'_>>, Problem> {
    let invalid = |detail: String| {
        Problem::invalid(vec![FieldError {
            field: "calls".to_owned(),
            detail,
        }])
    };
    let BatchBody { calls } =
        serde_json::from_slice(without_bom(body)).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => invalid(format!("cannot be read: {error}")),
            _ => Problem::malformed(format!("The body is not valid JSON: {error}.")),
        })?;
    if (1..=MAX_CALLS).contains(&calls.len()) {
        Ok(calls)
    } else {
        Err(invalid(format!(
            "must be 1 to {MAX_CALLS} calls; there are {}",
            calls.len()
        )))
    }
}

impl<T: 'static> Batch<T> {
    /// Handles all calls concurrently, each as a request of its own. The line of a call is sent as
    /// soon as the call ends. Every call is handled to its end, even if the client no longer reads.
    pub fn respond<A, F>(self, handle: impl Fn(T, Deadline) -> F) -> HttpResponse
    where
        A: Serialize + 'static,
        F: Future<Output = Result<(web::Json<A>, StatusCode), Problem>> + 'static,
    {
        let Self {
            route,
            arrived,
            calls,
            metrics,
        } = self;
        let responses = calls
            .into_iter()
            .enumerate()
            .map(|(index, Call { span, request })| {
                let handling =
                    request.map(|(body, deadline)| span.in_scope(|| handle(body, deadline)));
                respond_to(index, Rc::clone(&route), arrived, metrics.clone(), handling)
                    .instrument(span)
            });
        let mut responses: FuturesUnordered<_> = responses.collect();
        // In a task, because the body of a response is dropped when its connection closes.
        let (sender, mut lines) = mpsc::unbounded_channel();
        actix_web::rt::spawn(async move {
            while let Some(line) = responses.next().await {
                // Fails if the client no longer reads.
                let _ = sender.send(line);
            }
        });
        let lines = stream::poll_fn(move |context| lines.poll_recv(context));
        // Lines that are ready at the same time are sent together.
        let lines = lines
            .ready_chunks(MAX_CALLS)
            .map(|lines| Ok::<_, Infallible>(Bytes::from(lines.concat())));
        HttpResponse::Ok().content_type(MEDIA_TYPE).streaming(lines)
    }
}

/// Handles one call and returns the line of its response.
async fn respond_to<A: Serialize>(
    call: usize,
    route: Rc<str>,
    arrived: ArrivalTime,
    metrics: web::Data<HttpMetrics>,
    handling: Result<impl Future<Output = Result<(web::Json<A>, StatusCode), Problem>>, Problem>,
) -> Vec<u8> {
    let outcome = match handling {
        Ok(handling) => handling.await,
        Err(problem) => Err(problem),
    };
    let (status, line) = match outcome {
        Ok((body, status)) => (status, line(call, status, &body.0)),
        Err(problem) => {
            problem.log(&route);
            let document = problem.document(&route);
            (problem.status(), line(call, problem.status(), &document))
        }
    };
    request_span::record_status(&Span::current(), status);
    access_log::record_call(&metrics, &Method::POST, &route, status, arrived.elapsed());
    line
}

/// Returns the line of one response. If the body cannot be serialized, the line holds a 500.
fn line(call: usize, status: StatusCode, body: &impl Serialize) -> Vec<u8> {
    let line = serde_json::to_vec(&ResponseLine {
        call,
        status: status.as_u16(),
        body,
    });
    let mut line = line.unwrap_or_else(|error| {
        tracing::error!(%error, "the response to a call cannot be serialized");
        format!(r#"{{"call":{call},"status":500,"body":{INTERNAL_ERROR_JSON}}}"#).into_bytes()
    });
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_serialized_is_an_internal_error() {
        struct Unserializable;
        impl Serialize for Unserializable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("never"))
            }
        }
        let line = line(3, StatusCode::OK, &Unserializable);
        let line: ResponseLine<crate::platform::http::problem::ProblemBody> =
            serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (line.call, line.status, line.body.code.as_str()),
            (3, 500, "internal-error")
        );
    }
}
