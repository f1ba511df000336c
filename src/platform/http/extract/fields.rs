//! The values of one request by name, and the errors found in them.

use serde_json::{Map, Value};

use crate::platform::http::problem::{FieldError, Problem};

/// A type of request body or query that can be read from [`Fields`].
pub trait FromFields: Sized + 'static {
    /// Reads every field. `fields` collects the errors. If there are any, the request is rejected.
    fn from_fields(fields: &mut Fields) -> Self;
}

/// The values of one request by name, and the errors found in them.
pub struct Fields {
    values: Map<String, Value>,
    errors: Vec<FieldError>,
}

/// The expected value, in words that follow "must be".
pub type Expected = String;

impl Fields {
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(without_bom(bytes)) {
            Ok(Value::Object(values)) => Ok(Self {
                values,
                errors: Vec::new(),
            }),
            Ok(_) => Err(Problem::malformed("The body must be a JSON object.")),
            Err(error) if bytes.is_empty() => Err(Problem::malformed(
                "The body is empty; it must be a JSON object.",
            )
            .with_cause(error)),
            Err(error) => Err(Problem::malformed(format!(
                "The body is not valid JSON: {error}."
            ))),
        }
    }

    pub(super) fn from_query(query: &str) -> Result<Self, Problem> {
        let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(query)
            .map_err(|error| Problem::malformed(format!("The query cannot be read: {error}.")))?;
        let values = pairs
            .into_inner()
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        Ok(Self {
            values,
            errors: Vec::new(),
        })
    }

    /// Reads the whole value.
    ///
    /// # Errors
    /// 400 that names every invalid field.
    pub(super) fn finish<T: FromFields>(mut self) -> Result<T, Problem> {
        let value = T::from_fields(&mut self);
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(Problem::invalid(self.errors))
        }
    }

    /// Adds an error. `detail` is written in words that follow the name of the field.
    pub fn reject(&mut self, field: &str, detail: impl Into<String>) {
        self.errors.push(FieldError {
            field: field.to_owned(),
            detail: detail.into(),
        });
    }

    /// Whether this field has an error.
    #[must_use]
    pub fn has_error(&self, field: &str) -> bool {
        self.errors.iter().any(|error| error.field == field)
    }

    /// Adds an error for every field that was not read, so that a misspelt field is not ignored.
    pub fn reject_unread(&mut self) {
        for name in std::mem::take(&mut self.values)
            .into_iter()
            .map(|(name, _)| name)
        {
            self.reject(&name, "is not a field of this request");
        }
    }

    /// Reads a required field. If it is missing or invalid, adds an error and returns the default
    /// value.
    pub fn required<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> T {
        let value = self.optional(name, read);
        if value.is_none() && !self.has_error(name) {
            self.reject(name, "is required");
        }
        value.unwrap_or_default()
    }

    /// Reads a field that may be absent or null. If it is invalid, adds an error and returns
    /// `None`.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.values.remove(name).filter(|value| !value.is_null())?;
        match read(&value) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.reject(name, format!("must be {expected}"));
                None
            }
        }
    }
}

/// Removes the byte order mark that some programs put before their JSON. RFC 8259 allows a parser
/// to ignore it.
#[must_use]
pub fn without_bom(json: &[u8]) -> &[u8] {
    json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json)
}

/// Reads a body as a service does. Returns the names of the invalid fields if there are any.
#[cfg(test)]
pub fn read<T: FromFields>(body: &Value) -> Result<T, Vec<String>> {
    let mut fields = Fields::from_json(body.to_string().as_bytes()).unwrap();
    let value = T::from_fields(&mut fields);
    let invalid: Vec<_> = fields.errors.into_iter().map(|error| error.field).collect();
    if invalid.is_empty() {
        Ok(value)
    } else {
        Err(invalid)
    }
}
