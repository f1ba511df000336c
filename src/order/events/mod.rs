//! The live stream of order changes.

pub mod feed;
pub mod sse;
