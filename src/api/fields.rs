//! Readers of the fields that several requests have.

use serde_json::Value;

use crate::platform::http::extract::{integer, text};

/// Reads the id of a product: 1 to 255 characters.
pub fn product_id() -> impl FnOnce(&Value) -> Result<String, String> {
    text(1..=255)
}

/// Reads a number of units: 1 to 1000.
pub fn quantity() -> impl FnOnce(&Value) -> Result<i32, String> {
    integer(1..=1000)
}

/// Reads the fencing token of an attempt: at least 1.
pub fn epoch() -> impl FnOnce(&Value) -> Result<i32, String> {
    integer(1..=i32::MAX)
}
