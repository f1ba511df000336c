//! Injects faults into the requests that the service receives.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage, HttpResponse, web};
use futures_util::{StreamExt, stream};

use super::gremlin::Gremlin;
use super::rule::Outcome;
use super::rules::Decision;
use super::spec::{Direction, RequestView};
use crate::platform::http::extract::{
    BODY_TIMEOUT, MAX_BODY_BYTES, check_body_headers, without_bom,
};
use crate::platform::http::marker::ConnectionDropped;
use crate::platform::http::problem::Problem;
use crate::platform::http::route::{is_batch, route_of};

/// A request that hangs is dropped after this time, so that connections do not accumulate.
const HANG_TIMEOUT: Duration = Duration::from_secs(600);
/// The status in logs and metrics of a request without a response. It is the one that nginx uses.
const NO_RESPONSE: u16 = 444;

/// Middleware: injects the faults that the rules and the latency switch decide on.
///
/// # Errors
/// Those of the service behind it.
pub async fn inject_faults<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let gremlin = request
        .app_data::<web::Data<Gremlin>>()
        .filter(|gremlin| !gremlin.is_idle() && !gremlin.is_exempt(request.path()))
        .cloned();
    let Some(gremlin) = gremlin else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    if is_batch(&request) {
        // The handler rejects the batch, and the client then sends single calls.
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let decision = decide(&gremlin, &mut request).await;
    decision.wait(Duration::MAX).await;
    match decision.outcome {
        None => Ok(next.call(request).await?.map_into_left_body()),
        Some(outcome) => end(request, next, outcome).await,
    }
}

async fn decide(gremlin: &Gremlin, request: &mut ServiceRequest) -> Decision {
    let method = request.method().clone();
    let (path, route) = (request.path().to_owned(), route_of(request));
    let view = RequestView {
        direction: Direction::Inbound,
        dependency: None,
        method: method.as_str(),
        route: route.as_str(),
        path: &path,
    };
    let product_id = if gremlin.needs_product(view) {
        product_id_in(request, route.as_str()).await
    } else {
        None
    };
    gremlin.evaluate(view, product_id.as_deref())
}

/// Ends a request by a fault.
async fn end<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
    outcome: Outcome,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    match outcome {
        Outcome::Error(status) => {
            let detail = "The gremlin injected this error. The handler did not run.";
            let problem = Problem::new(status, "injected-fault", detail);
            Ok(request.error_response(problem).map_into_right_body())
        }
        Outcome::Drop => Ok(without_response(request)),
        Outcome::Hang => {
            tokio::time::sleep(HANG_TIMEOUT).await;
            Ok(without_response(request))
        }
        Outcome::Vanish => {
            let (request, response) = next.call(request).await?.into_parts();
            tracing::warn!(
                status = response.status().as_u16(),
                "handled; the gremlin drops the response"
            );
            Ok(ServiceResponse::new(request, dropped_connection()).map_into_right_body())
        }
        Outcome::Crash => {
            let response = next.call(request).await?;
            tracing::error!(
                status = response.status().as_u16(),
                "handled; the gremlin aborts the process"
            );
            std::process::abort()
        }
    }
}

/// Ends a request without a response.
fn without_response<B: MessageBody>(request: ServiceRequest) -> ServiceResponse<EitherBody<B>> {
    request
        .into_response(dropped_connection())
        .map_into_right_body()
}

/// Returns a response that closes the connection before any byte is sent: its body fails before its
/// head is flushed.
fn dropped_connection() -> HttpResponse {
    let status = StatusCode::from_u16(NO_RESPONSE).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status).body(FailingBody);
    response.extensions_mut().insert(ConnectionDropped);
    response
}

/// A body that fails at once.
struct FailingBody;

impl MessageBody for FailingBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(Some(Err("the gremlin closes the connection".into())))
    }
}

/// Returns the `product_id` in the path, query or body of a request.
async fn product_id_in(request: &mut ServiceRequest, pattern: &str) -> Option<String> {
    in_path(pattern, request.path())
        .or_else(|| in_query(request.query_string()))
        .or(in_body(&peek(request).await))
}

fn in_path(pattern: &str, path: &str) -> Option<String> {
    let segment = pattern
        .split('/')
        .position(|segment| segment == "{product_id}")?;
    let encoded = path.split('/').nth(segment)?;
    percent_encoding::percent_decode_str(encoded)
        .decode_utf8()
        .ok()
        .map(Into::into)
}

fn in_query(query: &str) -> Option<String> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query)
        .ok()?
        .into_inner();
    pairs
        .into_iter()
        .find(|(name, _)| name == "product_id")
        .map(|(_, value)| value)
}

fn in_body(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(without_bom(body)).ok()?;
    body.get("product_id")?.as_str().map(str::to_owned)
}

/// Reads the body before the handler does, and puts it back. If the body is too long, too slow or
/// incomplete, the part that was read is put back before the rest, so that the handler rejects it.
async fn peek(request: &mut ServiceRequest) -> Bytes {
    if check_body_headers(request.headers(), MAX_BODY_BYTES).is_err() {
        return Bytes::new();
    }
    let mut payload = request.take_payload();
    let mut read = BytesMut::new();
    let mut error: Option<PayloadError> = None;
    let reading = async {
        while let Some(chunk) = payload.next().await {
            match chunk {
                Ok(chunk) => read.extend_from_slice(&chunk),
                Err(failure) => error = Some(failure),
            }
            if error.is_some() || read.len() > MAX_BODY_BYTES {
                break;
            }
        }
    };
    // After a timeout, `read` holds what has arrived.
    let _: Result<(), _> = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    let read = read.freeze();
    let consumed = [Some(Ok(read.clone())), error.map(Err)]
        .into_iter()
        .flatten();
    let whole = stream::iter(consumed).chain(payload);
    request.set_payload(Payload::Stream {
        payload: Box::pin(whole),
    });
    read
}
