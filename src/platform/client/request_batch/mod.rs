//! Request batches: calls of one route that a thread makes at the same time share one request.
//!
//! An HTTP request costs the same whatever it holds, and under load a service makes many calls to
//! another one at once. Each call of a batch remains a call of its own. It has its own deadline,
//! trace, log line, metrics, circuit breaker and retries. Its response is sent as soon as it is
//! ready, so a slow call does not delay the others.
//!
//! A route takes batches at its own path with the suffix `/batch`, and says so in each response to
//! a single call by the header `x-max-batch-size`. A service that does not send the header gets
//! single calls. While the gremlin has a fault to inject, a service does not send the header and
//! rejects batches with 409, so that each fault hits one call.
//!
//! `client` is the side that calls, `server` the side that responds.

pub mod client;
pub mod server;
mod wire;

pub use wire::{BatchCallSchema, BatchSchema, ResponseLineSchema};
