//! Passes the request of a client on to another service.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;

use super::answer::CallError;
use super::http_client::{Client, not_answered, prepared, within};
use crate::platform::deadline::Deadline;

/// Metrics are longer than the other responses.
const FORWARD_LIMIT_BYTES: usize = 1024 * 1024;

/// The request of a client.
pub struct Forwarded<'a> {
    pub method: Method,
    pub path: &'a str,
    pub authorization: Option<HeaderValue>,
    pub body: Bytes,
}

/// The unchanged response.
pub struct ForwardedAnswer {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

impl Client {
    /// Sends the request of a client to the service.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn forward(
        &self,
        request_to_forward: Forwarded<'_>,
        deadline: Deadline,
    ) -> Result<ForwardedAnswer, CallError> {
        let Forwarded {
            method,
            path,
            authorization,
            body,
        } = request_to_forward;
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
