//! Calls to other services.
//!
//! [`Client`] makes single calls. [`dependency::Dependency`] adds retries, circuit breakers, a
//! bulkhead, request batches and the faults of the gremlin.

mod base_url;
pub mod circuit_breaker;
mod connector;
pub mod dependency;
mod forward;
pub mod guard;
mod http_client;
pub mod metrics;
pub mod request_batch;
mod response;
pub mod response_stream;
pub mod retry_budget;

pub use base_url::BaseUrl;
pub use connector::connector;
pub use forward::{ForwardedRequest, ForwardedResponse};
pub use http_client::{Client, LinesOutcome, within};
pub use response::{CallError, MAX_BATCH_SIZE_HEADER, Response};
