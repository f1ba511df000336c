//! Counts and times each request, and writes its log line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};

use crate::platform::http::marker::{BatchEnvelope, LogAtDebug};
use crate::platform::http::metrics::HttpMetrics;
use crate::platform::http::route::{is_polled, route_of};

/// The target of the log lines of requests.
pub const TARGET: &str = module_path!();

/// A function that is called with the method, route and duration of each finished request.
pub type RequestObserver = Arc<dyn Fn(&Method, &str, Duration) + Send + Sync>;

/// Middleware: counts and times each request, and writes its log line.
///
/// # Errors
/// Those of the service behind it.
pub async fn record<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let metrics = request.app_data::<web::Data<HttpMetrics>>().cloned();
    let observer = request.app_data::<RequestObserver>().cloned();
    let (method, route) = (request.method().clone(), route_of(&request));
    let outcome = next.call(request).await;
    let status = match &outcome {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let duration = started.elapsed();
    let (is_batch, is_debug_only) = outcome.as_ref().map_or((false, false), |response| {
        let marks = response.request().extensions();
        (
            marks.contains::<BatchEnvelope>(),
            marks.contains::<LogAtDebug>(),
        )
    });
    if let Some(metrics) = metrics.filter(|_| !is_batch) {
        metrics.record(&method, route.as_str(), status, duration);
    }
    if let Some(observer) = observer {
        observer(&method, route.as_str(), duration);
    }
    let is_debug = is_batch || is_debug_only || is_polled(route.as_str());
    log(&method, route.as_str(), status, duration, is_debug);
    outcome
}

/// Counts and times a request that ends before it reaches [`record`]. Its route has no parameters,
/// so the path is the route.
pub fn count(request: &ServiceRequest, status: StatusCode, duration: Duration) {
    let (method, route) = (request.method(), request.path());
    if let Some(metrics) = request.app_data::<web::Data<HttpMetrics>>() {
        metrics.record(method, route, status, duration);
    }
    if let Some(observer) = request.app_data::<RequestObserver>() {
        observer(method, route, duration);
    }
}

/// Counts, times and logs one call of a batch as a request of its own.
pub fn record_call(
    metrics: &HttpMetrics,
    method: &Method,
    route: &str,
    status: StatusCode,
    duration: Duration,
) {
    metrics.record(method, route, status, duration);
    log(method, route, status, duration, is_polled(route));
}

fn log(method: &Method, route: &str, status: StatusCode, duration: Duration, is_debug: bool) {
    let duration_ms = (duration.as_secs_f64() * 1e5).round() / 100.0;
    let (method, status) = (method.as_str(), status.as_u16());
    if is_debug {
        tracing::debug!(method, route, status, duration_ms, "request");
    } else {
        tracing::info!(method, route, status, duration_ms, "request");
    }
}
