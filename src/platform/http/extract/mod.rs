//! Reads the body or the query of a request field by field, so that one response names every wrong
//! field.
//!
//! A body is read as JSON whatever its Content-Type says. It must have no Content-Encoding, be at most
//! 16 KiB long, and arrive within 5 s.

mod body;
mod fields;
mod readers;
#[cfg(test)]
mod tests;

pub use body::{
    BODY_LIMIT_BYTES, BODY_TIMEOUT, Body, Query, RawBody, check_head, read_json, too_large,
    whole_body,
};
#[cfg(test)]
pub use fields::read;
pub use fields::{Fields, FromFields, without_bom};
pub use readers::{amount, boolean, digits, flag, fraction, integer, name, text, timestamp, uuid};
