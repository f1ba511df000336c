//! The JSON of a problem document.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub const MEDIA_TYPE: &str = "application/problem+json";
/// The document that is sent instead of one that cannot be serialized.
pub const INTERNAL_ERROR_JSON: &str = concat!(
    r#"{"type":"urn:problem-type:valerix:internal-error","title":"Internal Server Error","#,
    r#""status":500,"detail":"The service failed because of an internal error, which is logged.","#,
    r#""code":"internal-error"}"#,
);

/// An invalid field of a request
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

/// `application/problem+json`, with the extension members `code`, `trace_id`, `errors`,
/// `order_id` and `delivery_id`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    pub r#type: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Identifies the problem to programs. In kebab-case, and never changed.
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The invalid fields of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The order that the problem concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    /// The delivery that the problem concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
}

impl ProblemBody {
    /// Returns what is wrong, as text for people: every invalid field, or else the detail.
    #[must_use]
    pub fn explanation(&self) -> String {
        if self.errors.is_empty() {
            return self.detail.clone();
        }
        let texts = self.errors.iter();
        let texts = texts.map(|error| format!("{} {}", error.field, error.detail));
        texts.collect::<Vec<_>>().join("; ")
    }
}
