//! Corrects how actix-web ends two kinds of responses.
//!
//! - A HEAD request is handled as a GET request. actix-web does not send the body, but reads it to
//!   its end. An endless stream would block its connection, so this middleware drops the body.
//! - HTTP/1.0 has no chunked encoding. So a body of unknown length ends with its connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::web::Bytes;

use crate::platform::http::marker::ConnectionDropped;

/// The empty body of a response to HEAD.
///
/// actix-web does not know its length, so that `content-length` can be that of the response to GET.
pub struct NoBody;

impl MessageBody for NoBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

/// Middleware: handles HEAD as GET without a body, and sends no chunks to HTTP/1.0 clients.
///
/// # Errors
/// Those of the service behind it.
pub async fn frame<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, NoBody>>, Error> {
    let is_head = request.method() == Method::HEAD;
    let supports_chunks = request.version() >= Version::HTTP_11;
    if is_head {
        request.head_mut().method = Method::GET;
    }
    let response = next.call(request).await?;
    if is_head
        && !response
            .response()
            .extensions()
            .contains::<ConnectionDropped>()
    {
        return Ok(without_body(response));
    }
    let mut response = response.map_into_left_body();
    if !supports_chunks && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Drops the body of a response, and keeps its length.
fn without_body<B: MessageBody + 'static>(
    mut response: ServiceResponse<B>,
) -> ServiceResponse<EitherBody<B, NoBody>> {
    let length = match response.response().body().size() {
        BodySize::Sized(length) if response.status() != StatusCode::NOT_MODIFIED => Some(length),
        _ => None,
    };
    let head = response.response_mut().head_mut();
    head.no_chunking(true);
    if let Some(length) = length {
        head.headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map_body(|_, _| EitherBody::Right { body: NoBody })
}
