//! Allows pages of other origins to read the responses (CORS).

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};

/// Returns the CORS middleware that allows these origins.
pub fn cors(origins: &[String]) -> Cors {
    let cors = origins
        .iter()
        .fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
    cors.allowed_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allowed_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ])
        .allowed_header("idempotency-key")
        .expose_headers(["x-trace-id", "location", "retry-after"])
        .max_age(3600)
        // A request of any other origin is handled, but without the headers that let its page read
        // the response.
        .block_on_origin_mismatch(false)
}
