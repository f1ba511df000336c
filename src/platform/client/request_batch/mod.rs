//! Request batches: calls to one route that a thread makes at the same time share one request.
//!
//! Most of the cost of an HTTP request does not depend on the size of its body, and under load a
//! service makes many calls to another one at the same time. Each call of a batch keeps its own
//! deadline, trace, log line, metrics, circuit breaker and retries. The response to a call is sent
//! as soon as it is ready, so a slow call does not delay the others.
//!
//! A route that takes batches adds the header `x-max-batch-size` to each response to a single call.
//! The client then sends batches to the path of the route with the suffix `/batch`. While the
//! header is absent, the client sends single calls. While the gremlin has a fault to inject, a
//! service does not send the header and rejects batches with 409, so that each fault hits a single
//! call.
//!
//! `client` makes the calls, `server` responds to them.

pub mod client;
pub mod server;
mod wire;

pub use wire::{BatchCallSchema, BatchSchema, ResponseLineSchema};
