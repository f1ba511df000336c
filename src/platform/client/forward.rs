//! Forwards the request of a client to another service.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;

use super::http_client::{Client, in_current_trace, send_failure, within};
use super::response::CallError;
use crate::platform::deadline::Deadline;

/// Larger than for other calls, because the response of `/metrics` is forwarded too.
const MAX_FORWARDED_RESPONSE_BYTES: usize = 1024 * 1024;

/// The request of a client that is forwarded.
pub struct ForwardedRequest<'a> {
    pub method: Method,
    pub path: &'a str,
    pub authorization: Option<HeaderValue>,
    pub body: Bytes,
}

/// The response of the other service, to be passed on unchanged.
pub struct ForwardedResponse {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub retry_after: Option<HeaderValue>,
    pub body: Bytes,
}

impl Client {
    /// Forwards the request of a client to the service.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn forward(
        &self,
        forwarded: ForwardedRequest<'_>,
        deadline: Deadline,
    ) -> Result<ForwardedResponse, CallError> {
        let ForwardedRequest {
            method,
            path,
            authorization,
            body,
        } = forwarded;
        let mut request = in_current_trace(
            self.http.request(method, format!("{}{path}", self.base)),
            deadline,
        );
        if let Some(authorization) = authorization {
            request = request.insert_header((header::AUTHORIZATION, authorization));
        }
        within(deadline, async {
            let mut response = request.send_body(body).await.map_err(send_failure)?;
            let header = |name| response.headers().get(name).cloned();
            let content_type = header(header::CONTENT_TYPE);
            let retry_after = header(header::RETRY_AFTER);
            let body = response.body().limit(MAX_FORWARDED_RESPONSE_BYTES).await;
            let body = body.map_err(|error| CallError::Interrupted(error.to_string()))?;
            Ok(ForwardedResponse {
                status: response.status(),
                content_type,
                retry_after,
                body,
            })
        })
        .await
    }
}
