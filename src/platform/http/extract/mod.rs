//! Reads the body or the query of a request field by field, so that one response names every
//! invalid field.
//!
//! A body is read as JSON, whatever its Content-Type is. It must have no Content-Encoding, be at
//! most 16 KiB long, and arrive within 5 s.

mod body;
mod fields;
mod readers;
#[cfg(test)]
mod tests;

pub use body::{
    BODY_TIMEOUT, Body, MAX_BODY_BYTES, Query, RawBody, check_body_headers, read_body, read_json,
    too_large,
};
#[cfg(test)]
pub use fields::read;
pub use fields::{Fields, FromFields, without_bom};
pub use readers::{
    amount, boolean, fraction, integer, name, query_boolean, query_integer, text, timestamp, uuid,
    uuids,
};
