//! Readers of the fields that several requests have.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::platform::http::extract::{integer, text};

/// Upper bound on the stock of a product, and on the sum of its deliveries.
pub const MAX_STOCK: i32 = 2_000_000_000;

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

/// The characters that a segment of a path must escape (RFC 3986).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Returns the path of a product at the inventory service.
#[must_use]
pub fn product_path(product_id: &str) -> String {
    format!("/inventory/{}", utf8_percent_encode(product_id, SEGMENT))
}

/// Whether a product can have this id.
#[must_use]
pub fn is_product_id(text: &str) -> bool {
    product_id()(&Value::from(text)).is_ok()
}

/// Reads the stock of a new product.
pub fn stock() -> impl FnOnce(&Value) -> Result<i32, String> {
    integer(0..=MAX_STOCK)
}

/// Reads the units of a delivery, or those that a correction removes.
pub fn delivered_quantity(value: &Value) -> Result<i32, String> {
    let read = integer(-MAX_STOCK..=MAX_STOCK)(value);
    read.ok()
        .filter(|quantity| *quantity != 0)
        .ok_or_else(|| format!("a whole number from -{MAX_STOCK} to {MAX_STOCK} other than 0"))
}

/// Reads the id of a delivery: 1 to 255 characters.
pub fn delivery_id() -> impl FnOnce(&Value) -> Result<String, String> {
    text(1..=255)
}
