//! Problem documents (RFC 9457): turns the errors of a service into HTTP responses.

use std::fmt;

use actix_cors::CorsError;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};
use uuid::Uuid;

use super::problem_body::INTERNAL_ERROR_JSON;
pub use super::problem_body::{FieldError, MEDIA_TYPE, ProblemBody};
use super::route::is_polled;
use crate::platform::observability::trace_context;

const INTERNAL_ERROR: &str = "The service failed because of an internal error, which is logged.";
const NO_RESOURCE: &str = "There is nothing at this address.";

/// An error response. The client gets everything except the cause, which is only logged.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    order_id: Option<Uuid>,
    delivery_id: Option<String>,
    retry_after_seconds: Option<u32>,
    /// Further headers of the response.
    headers: Vec<(&'static str, String)>,
    cause: Option<String>,
    without_log: bool,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            order_id: None,
            delivery_id: None,
            retry_after_seconds: None,
            headers: Vec::new(),
            cause: None,
            without_log: false,
        }
    }

    /// Returns a 400 that names every invalid field.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!("The request is not valid: see {}.", names.join(", "));
        Self {
            errors,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
        }
    }

    /// Returns a 400 for a body that is not a JSON object.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
    }

    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// Returns a 405 that lists the methods of the path.
    #[must_use]
    pub fn method_not_allowed(method: &str, allow: String) -> Self {
        let detail = format!("{method} is not allowed here; allowed: {allow}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
            .with_header("allow", allow)
    }

    /// Returns a 503 with `Retry-After`: the request had no effect and will have none, so the
    /// client can retry.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }

    /// The code for a request that needs a lock which another database session holds.
    pub const LOCKED: &'static str = "locked";
    /// The code for a change of which it is not known whether it was made, or still will be.
    pub const OUTCOME_UNKNOWN: &'static str = "outcome-unknown";

    /// Returns a 503 without `Retry-After`: it is not known whether the change was made. `reason`
    /// is a sentence for the client.
    #[must_use]
    pub fn outcome_unknown(reason: &str, order_id: Uuid) -> Self {
        Self::change_unknown(reason).with_order_id(order_id)
    }

    /// Returns the problem of [`Problem::outcome_unknown`] for a change that concerns no order.
    #[must_use]
    pub fn change_unknown(reason: &str) -> Self {
        let detail = format!("{reason} It is not known whether the change was made.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Self::OUTCOME_UNKNOWN,
            detail,
        )
    }

    /// Returns a 500 for a fault of this program. The cause is logged, and not sent to the client.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            INTERNAL_ERROR,
        )
        .with_cause(cause)
    }

    #[must_use]
    pub fn with_cause(self, cause: impl fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..self
        }
    }

    /// Suppresses the log line, for a problem that can occur thousands of times per second and that
    /// is logged once where it starts.
    #[must_use]
    pub fn without_log(self) -> Self {
        Self {
            without_log: true,
            ..self
        }
    }

    #[must_use]
    pub fn with_order_id(self, order_id: Uuid) -> Self {
        Self {
            order_id: Some(order_id),
            ..self
        }
    }

    #[must_use]
    pub fn with_delivery_id(self, delivery_id: impl Into<String>) -> Self {
        Self {
            delivery_id: Some(delivery_id.into()),
            ..self
        }
    }

    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }

    /// Adds a sentence to the detail.
    #[must_use]
    pub fn with_added_detail(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail);
        self
    }

    /// Adds a header. `name` is in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the problem of a preflight request that CORS rejects.
    pub(crate) fn from_cors(error: &CorsError) -> Self {
        Self::new(error.status_code(), "cors-refused", format!("{error}."))
    }

    /// Returns the problem of an error of actix-web, of which only the status is known.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not-found", NO_RESOURCE),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The request is too large."),
            StatusCode::REQUEST_TIMEOUT => ("too-slow", "The request did not arrive in time."),
            status if status.is_client_error() => ("bad-request", "The request is not valid HTTP."),
            _ => ("internal-error", INTERNAL_ERROR),
        };
        Self::new(status, code, detail)
    }

    pub(crate) fn is_without_log(&self) -> bool {
        self.without_log
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the document for a request to this path.
    #[must_use]
    pub fn document(&self, path: &str) -> ProblemBody {
        self.body(Some(path), trace_context::current_trace_id().as_deref())
    }

    /// Logs a server error and its cause.
    pub(crate) fn log(&self, path: &str) {
        let cause = self.cause.as_deref().unwrap_or("unknown");
        match self.status {
            // Polled routes fail every few seconds. Other code logs when such an incident starts
            // and ends.
            StatusCode::SERVICE_UNAVAILABLE if self.without_log || is_polled(path) => {
                tracing::debug!(code = self.code, cause, "the service is unavailable");
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                tracing::warn!(code = self.code, cause, "the service is unavailable");
            }
            status if status.is_server_error() => {
                tracing::error!(code = self.code, cause, "request failed");
            }
            _ => {}
        }
    }

    fn body(&self, instance: Option<&str>, trace_id: Option<&str>) -> ProblemBody {
        ProblemBody {
            r#type: format!("urn:problem-type:valerix:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.map(str::to_owned),
            code: self.code.to_owned(),
            trace_id: trace_id.map(str::to_owned),
            errors: self.errors.clone(),
            order_id: self.order_id,
            delivery_id: self.delivery_id.clone(),
        }
    }

    /// Returns the response. `instance` is the path of the request.
    pub(crate) fn response(&self, instance: Option<&str>, trace_id: Option<&str>) -> HttpResponse {
        let body = self.body(instance, trace_id);
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        match serde_json::to_string(&body) {
            Ok(body) => response.content_type(MEDIA_TYPE).body(body),
            Err(error) => {
                tracing::error!(%error, "a problem document cannot be serialized");
                HttpResponse::InternalServerError()
                    .content_type(MEDIA_TYPE)
                    .body(INTERNAL_ERROR_JSON)
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None, None)
    }
}
