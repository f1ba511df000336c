//! Every series the platform exports, named in one place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, get, web};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::platform::http::problem::{Problem, Quiet};

const DURATION_BUCKETS_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0,
];

const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Seen by whoever wants to know of each finished request: method, route, time taken.
pub type Observer = Arc<dyn Fn(&Method, &str, Duration) + Send + Sync>;

/// One process's metrics.
pub struct Metrics {
    service: &'static str,
    registry: Registry,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    /// Orders by the status and reason they reached.
    pub orders: IntCounterVec,
    /// Calls to a dependency by how they ended: answered, error, timeout, not-tried.
    pub dependency_calls: IntCounterVec,
    pub dependency_retries: IntCounterVec,
    /// 1 for the state that the breaker of a dependency's route is in, 0 for the others.
    pub breaker_state: IntGaugeVec,
    /// Attempts of the recovery worker by how they ended: settled, waiting, overtaken, error.
    pub recovery_attempts: IntCounterVec,
    pub orders_unfinished: IntGauge,
    pub oldest_unfinished_seconds: Gauge,
    /// Orders that have owed a release or a refund for longer than the recovery bound.
    pub orders_stuck: IntGauge,
    /// What the gremlin adds to each answer; 0 when it is off.
    pub gremlin_latency_seconds: Gauge,
    pub gremlin_rules: IntGauge,
    /// Changes of what the gremlin is to do: switch-on, switch-off, rule-added, rule-removed,
    /// rules-cleared.
    pub gremlin_changes: IntCounterVec,
    /// By rule, `switch` being the latency switch, and kind.
    pub gremlin_faults: IntCounterVec,
    /// Requests turned away with 503 because too many were under way.
    pub shed: IntCounter,
    /// Requests answered from a stored answer by their idempotency key.
    pub replayed: IntCounter,
    /// Connections of the database pool: open, and of these idle.
    pub pool_open: IntGauge,
    pub pool_idle: IntGauge,
    pub tasks: IntGauge,
    /// Items that went into one transaction together, by kind of work.
    pub batch_items: HistogramVec,
    /// Items that met a lock of another session and left their batch, by kind of work.
    pub batch_locked: IntCounterVec,
    /// Calls that went in one request together, by dependency and the path of each.
    pub bundle_calls: HistogramVec,
}

impl Metrics {
    /// # Errors
    /// When two series share a name; the names below are constant, so any test that starts a
    /// service finds it.
    #[expect(clippy::too_many_lines, reason = "one entry for each series")]
    pub fn new(service: &'static str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let series = Series(&registry);
        let metrics = Self {
            service,
            http_requests: series.counter(
                "http_requests_total",
                "HTTP requests answered.",
                &["service", "method", "path", "status_code"],
            )?,
            http_duration: series.histogram(
                "http_request_duration_seconds",
                "Time from a request's head to its answer's head.",
                &["service", "method", "path"],
                DURATION_BUCKETS_SECONDS,
            )?,
            orders: series.counter(
                "valerix_orders_total",
                "Changes of an order's status, by the status reached and why.",
                &["status", "reason"],
            )?,
            dependency_calls: series.counter(
                "valerix_dependency_calls_total",
                "Calls to another service, by how they ended.",
                &["dependency", "outcome"],
            )?,
            dependency_retries: series.counter(
                "valerix_dependency_retries_total",
                "Calls tried again because they cannot have run.",
                &["dependency"],
            )?,
            breaker_state: series.gauges(
                "valerix_breaker_state",
                "1 for the state that the breaker of a route is in.",
                &["dependency", "route", "state"],
            )?,
            recovery_attempts: series.counter(
                "valerix_recovery_attempts_total",
                "Attempts of the recovery worker, by how they ended.",
                &["outcome"],
            )?,
            orders_unfinished: series.gauge(
                "valerix_orders_unfinished",
                "Orders that are pending or still owe a release or a refund.",
            )?,
            oldest_unfinished_seconds: series.seconds(
                "valerix_oldest_unfinished_order_seconds",
                "Age of the oldest unfinished order.",
            )?,
            orders_stuck: series.gauge(
                "valerix_orders_stuck",
                "Orders that have owed a release or a refund for longer than the recovery bound.",
            )?,
            gremlin_latency_seconds: series.seconds(
                "valerix_gremlin_latency_seconds",
                "What the gremlin's switch adds to each answer; 0 when it is off.",
            )?,
            gremlin_rules: series.gauge(
                "valerix_gremlin_rules",
                "Rules of the gremlin that have not ended.",
            )?,
            gremlin_changes: series.counter(
                "valerix_gremlin_changes_total",
                "Changes of what the gremlin is to do.",
                &["change"],
            )?,
            gremlin_faults: series.counter(
                "valerix_gremlin_faults_total",
                "Faults that the gremlin injected, by its rule.",
                &["rule", "kind"],
            )?,
            shed: series.count(
                "valerix_requests_shed_total",
                "Orders turned away: too many were under way.",
            )?,
            replayed: series.count(
                "valerix_idempotent_replays_total",
                "Orders answered again by their idempotency key.",
            )?,
            pool_open: series.gauge(
                "valerix_database_connections_open",
                "Database connections that the pool holds open.",
            )?,
            pool_idle: series.gauge(
                "valerix_database_connections_idle",
                "Of the open connections, those that nobody uses.",
            )?,
            tasks: series.gauge("valerix_tasks", "Asynchronous tasks that are alive.")?,
            batch_items: series.histogram(
                "valerix_batch_items",
                "Items that went into one transaction together.",
                &["work"],
                BATCH_BUCKETS,
            )?,
            batch_locked: series.counter(
                "valerix_batch_locked_items_total",
                "Items that met a lock of another session and left their batch.",
                &["work"],
            )?,
            bundle_calls: series.histogram(
                "valerix_bundle_calls",
                "Calls to another service that went in one request together.",
                &["dependency", "path"],
                BATCH_BUCKETS,
            )?,
            registry,
        };
        metrics
            .registry
            .register(Box::new(ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// The Prometheus text format.
    ///
    /// # Errors
    /// When a collected series cannot be encoded.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn observe(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = bounded(method);
        self.http_requests
            .with_label_values(&[self.service, method, route, status.as_str()])
            .inc();
        self.http_duration
            .with_label_values(&[self.service, method, route])
            .observe(took.as_secs_f64());
    }
}

/// Makes series and registers them.
struct Series<'a>(&'a Registry);

impl Series<'_> {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn count(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.register(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
            labels,
        )?)
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

/// A caller may invent methods; the label must not grow with them.
fn bounded(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("OTHER")
}

/// The pattern of the route that a request matched; all unmatched requests share one.
#[derive(Clone)]
pub struct Route(String);

impl Route {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[must_use]
pub fn route_of(request: &ServiceRequest) -> Route {
    let known = request.extensions().get::<Route>().cloned();
    known.unwrap_or_else(|| {
        Route(
            request
                .match_pattern()
                .unwrap_or_else(|| "unmatched".to_owned()),
        )
    })
}

/// On a request that only carried calls, each of which is counted, timed and logged by itself.
pub struct Carrier;

/// Middleware: counts and times each request, and writes its one log line.
///
/// # Errors
/// Those of the service behind it.
pub async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let metrics = request.app_data::<web::Data<Metrics>>().cloned();
    let observer = request.app_data::<Observer>().cloned();
    let (method, route) = (request.method().clone(), route_of(&request));
    let outcome = next.call(request).await;
    let status = match &outcome {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let took = started.elapsed();
    let marked = outcome
        .as_ref()
        .ok()
        .map(|response| response.request().extensions());
    let carrier = marked
        .as_ref()
        .is_some_and(|marks| marks.contains::<Carrier>());
    let quiet = marked.is_some_and(|marks| marks.contains::<Quiet>());
    if let Some(metrics) = metrics.filter(|_| !carrier) {
        metrics.observe(&method, route.as_str(), status, took);
    }
    if let Some(observer) = observer {
        observer(&method, route.as_str(), took);
    }
    log(&method, route.as_str(), status, took, quiet || carrier);
    outcome
}

/// Counts, times and logs what was no request of its own, and is to look like one.
pub fn observed(
    metrics: &Metrics,
    method: &Method,
    route: &str,
    status: StatusCode,
    took: Duration,
) {
    metrics.observe(method, route, status, took);
    log(method, route, status, took, false);
}

fn log(method: &Method, route: &str, status: StatusCode, took: Duration, quiet: bool) {
    let duration_ms = (took.as_secs_f64() * 1e5).round() / 100.0;
    let (method, status) = (method.as_str(), status.as_u16());
    if quiet || is_routine(route) {
        tracing::debug!(method, route, status, duration_ms, "request");
    } else {
        tracing::info!(method, route, status, duration_ms, "request");
    }
}

/// Asked every few seconds by machines; their lines would bury the others.
const ROUTINE: [&str; 5] = ["/health", "/livez", "/readyz", "/metrics", "/sla"];

#[must_use]
pub fn is_routine(route: &str) -> bool {
    ROUTINE.contains(&route)
}

/// Prometheus metrics
#[utoipa::path(tag = "platform", responses((status = 200, description = "Prometheus text format", content_type = "text/plain", body = String)))]
#[get("/metrics")]
pub async fn exposition(metrics: web::Data<Metrics>) -> Result<HttpResponse, Problem> {
    let text = metrics.render().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}
