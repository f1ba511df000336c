//! RFC 9457 problems: the one place where an error becomes HTTP.

use std::fmt;

use actix_cors::CorsError;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::route::is_routine;
use crate::platform::observability::trace_context;

pub const MEDIA_TYPE: &str = "application/problem+json";
/// Stands in for a document that cannot be written.
pub const INTERNAL_ERROR_JSON: &str = r#"{"type":"urn:problem-type:valerix:internal-error","title":"Internal Server Error","status":500,"detail":"The service made a mistake; it is logged.","code":"internal-error"}"#;

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

/// An answer that is an error. What is public is in the fields; `cause` goes to the log alone.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    order_id: Option<Uuid>,
    retry_after_seconds: Option<u32>,
    /// Further headers of the answer.
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
            retry_after_seconds: None,
            headers: Vec::new(),
            cause: None,
            without_log: false,
        }
    }

    /// 400, with every wrong field named.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!("The request is not valid: see {}.", names.join(", "));
        Self {
            errors,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
        }
    }

    /// 400 for a body that is not a JSON object at all.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
    }

    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 405 with the methods that the resource does have.
    #[must_use]
    pub fn method_not_allowed(method: &str, allow: String) -> Self {
        let detail = format!("{method} is not allowed here; allowed: {allow}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
            .with_header("allow", allow)
    }

    /// 503: nothing was done, and trying again soon is worth it.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }

    /// The code of a request that met a lock of another session.
    pub const LOCKED: &'static str = "locked";
    /// The code of a change that may have been made, or may still be.
    pub const OUTCOME_UNKNOWN: &'static str = "outcome-unknown";

    /// 503 without `Retry-After`: whether the change was made is not known. `cause` is a sentence
    /// that says why.
    #[must_use]
    pub fn outcome_unknown(cause: &str, order_id: Uuid) -> Self {
        let detail = format!("{cause} Whether the change was made is not known.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Self::OUTCOME_UNKNOWN,
            detail,
        )
        .of_order(order_id)
    }

    /// 500 for what must not happen; the cause is logged, never shown.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "The service made a mistake; it is logged.",
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

    /// Without a line in the log for each: it is met thousands of times a second, and told of by
    /// whoever makes it.
    #[must_use]
    pub fn without_log(self) -> Self {
        Self {
            without_log: true,
            ..self
        }
    }

    #[must_use]
    pub fn of_order(self, order_id: Uuid) -> Self {
        Self {
            order_id: Some(order_id),
            ..self
        }
    }

    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }

    /// With one more sentence in its detail.
    #[must_use]
    pub fn and_detail(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail);
        self
    }

    /// With one more header. `name` is in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// For a preflight request that CORS refuses.
    pub(crate) fn of_cors(error: &CorsError) -> Self {
        Self::new(error.status_code(), "cors-refused", format!("{error}."))
    }

    /// For errors that actix made itself, of which only the status is known.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not-found", "There is nothing at this address."),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The request is too large."),
            StatusCode::REQUEST_TIMEOUT => ("too-slow", "The request did not arrive in time."),
            status if status.is_client_error() => {
                ("bad-request", "The request cannot be understood.")
            }
            _ => (
                "internal-error",
                "The service made a mistake; it is logged.",
            ),
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

    /// The document for what was asked of a path, and its cause to the log.
    #[must_use]
    pub fn document(&self, path: &str) -> ProblemBody {
        self.log(path);
        self.body(Some(path), trace_context::current_trace_id().as_deref())
    }

    /// Tells the log what is not for the customer.
    pub(crate) fn log(&self, path: &str) {
        let cause = self.cause.as_deref().unwrap_or("none given");
        match self.status {
            // Whoever looks there every second is told each time; the log, when it begins and ends.
            StatusCode::SERVICE_UNAVAILABLE if self.without_log || is_routine(path) => {
                tracing::debug!(code = self.code, cause, "cannot serve now");
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                tracing::warn!(code = self.code, cause, "cannot serve now")
            }
            status if status.is_server_error() => {
                tracing::error!(code = self.code, cause, "request failed")
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
        }
    }

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
                tracing::error!(%error, "a problem document cannot be written");
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

/// `application/problem+json`, with the extension members `code`, `trace_id`, `errors` and
/// `order_id`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    pub r#type: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Stable, kebab-case; what a program decides by.
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The wrong fields of an invalid request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The order that came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
}
