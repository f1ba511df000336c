//! Calls to other services.

mod answer;
mod base_url;
pub mod circuit_breaker;
mod connector;
pub mod dependency;
mod forward;
pub mod guard;
mod http_client;
pub mod metrics;
pub mod request_batch;
pub mod response_stream;
pub mod retry_budget;

pub use answer::{Answer, CallError, MAX_BATCH_SIZE};
pub use base_url::BaseUrl;
pub use connector::connector;
pub use forward::{Forwarded, ForwardedAnswer};
pub use http_client::{Client, Lines, within};
