//! The metrics of HTTP requests, and `GET /metrics`.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, get, web};
use prometheus::{HistogramVec, IntCounterVec};

use super::problem::Problem;
use crate::platform::observability::metrics::Registry;

const DURATION_BUCKETS_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0,
];

/// The metrics of a service's HTTP requests.
pub struct HttpMetrics {
    service: &'static str,
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl HttpMetrics {
    /// # Errors
    /// When the registry already has these metrics.
    pub fn new(registry: &Registry, service: &'static str) -> prometheus::Result<Self> {
        Ok(Self {
            service,
            requests: registry.counters(
                "http_requests_total",
                "HTTP requests answered.",
                &["service", "method", "path", "status_code"],
            )?,
            duration: registry.histograms(
                "http_request_duration_seconds",
                "Time from the head of a request to the head of its response.",
                &["service", "method", "path"],
                DURATION_BUCKETS_SECONDS,
            )?,
        })
    }

    /// Counts one request and records its duration.
    pub fn record(&self, method: &Method, route: &str, status: StatusCode, duration: Duration) {
        let method = method_label(method);
        self.requests
            .with_label_values(&[self.service, method, route, status.as_str()])
            .inc();
        self.duration
            .with_label_values(&[self.service, method, route])
            .observe(duration.as_secs_f64());
    }
}

/// Returns the label of a method. Unknown methods share the label `OTHER`, so that clients cannot
/// add series.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("OTHER")
}

/// Prometheus metrics
#[utoipa::path(tag = "platform", responses(
    (status = 200, description = "Prometheus text format", content_type = "text/plain",
        body = String),
))]
#[get("/metrics")]
pub async fn exposition(registry: web::Data<Registry>) -> Result<HttpResponse, Problem> {
    let text = registry.render().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}
