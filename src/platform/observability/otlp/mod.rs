//! Sends spans by OTLP, over gRPC or HTTP, with or without TLS.

mod client;
mod export;

pub use export::{Certificates, Export, Protocol};
