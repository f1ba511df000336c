//! The gremlin: breaks the service on purpose. Its state lives in memory alone and ends with the process.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, get, post, web};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::fields::{Body, Fields, FromFields, boolean, integer};
use super::metrics::Metrics;
use super::problem::{Problem, ProblemBody};

const MOST_DELAY_MS: i32 = 60_000;
const USUAL_DELAY_MS: i32 = 3_000;

/// Whether and for whom there is a gremlin.
#[derive(Debug, Clone)]
pub struct Config {
    pub enabled: bool,
    pub token: Option<String>,
}

/// `POST /gremlin/latency` and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    pub enabled: bool,
    /// 3000 when absent.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 60000, example = 3000)]
    pub delay_ms: i32,
}

impl FromFields for Latency {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            enabled: fields.required("enabled", boolean),
            delay_ms: fields.optional("delay_ms", integer(0..=MOST_DELAY_MS)).unwrap_or(USUAL_DELAY_MS),
        }
    }
}

/// What is being broken now, shared by all workers of the process.
#[derive(Clone)]
pub struct Gremlin {
    config: Config,
    latency: Arc<RwLock<Latency>>,
    metrics: web::Data<Metrics>,
}

impl Gremlin {
    #[must_use]
    pub fn new(config: Config, metrics: web::Data<Metrics>) -> Self {
        let calm = Latency { enabled: false, delay_ms: USUAL_DELAY_MS };
        Self { config, latency: Arc::new(RwLock::new(calm)), metrics }
    }

    fn latency(&self) -> Latency {
        *self.latency.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_latency(&self, latency: Latency) {
        *self.latency.write().unwrap_or_else(PoisonError::into_inner) = latency;
        self.metrics.gremlin_latency_seconds.set(self.delay().unwrap_or_default().as_secs_f64());
        tracing::warn!(enabled = latency.enabled, delay_ms = latency.delay_ms, "gremlin latency switched");
    }

    fn delay(&self) -> Option<Duration> {
        let latency = self.latency();
        let milliseconds = u64::try_from(latency.delay_ms).unwrap_or_default();
        (self.config.enabled && latency.enabled).then(|| Duration::from_millis(milliseconds))
    }

    fn allow(&self, request: &HttpRequest) -> Result<(), Problem> {
        let Some(token) = &self.config.token else {
            return Ok(());
        };
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if given.is_some_and(|given| bool::from(given.ct_eq(token.as_bytes()))) {
            return Ok(());
        }
        let detail = "The gremlin wants the header Authorization: Bearer with its token.";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
    }
}

/// Routes that stay as they are: nobody may be locked out of the gremlin, of the figures or of the probes.
fn is_exempt(path: &str) -> bool {
    path.starts_with("/gremlin/") || ["/metrics", "/livez", "/readyz"].contains(&path)
}

/// Middleware: does to the request what the gremlin wants done.
///
/// # Errors
/// Those of the service behind it.
pub async fn interfere<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let delay = request.app_data::<web::Data<Gremlin>>().and_then(|gremlin| gremlin.delay());
    if let Some(delay) = delay.filter(|_| !is_exempt(request.path())) {
        tokio::time::sleep(delay).await;
    }
    next.call(request).await
}

/// The latency switch
#[utoipa::path(tag = "gremlin", responses((status = 200, body = Latency),
    (status = 401, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/gremlin/latency")]
async fn show_latency(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
) -> Result<web::Json<Latency>, Problem> {
    gremlin.allow(&request)?;
    Ok(web::Json(gremlin.latency()))
}

/// Makes every endpoint wait before it answers
///
/// Except the gremlin's own, `/metrics`, `/livez` and `/readyz`. Ends with the process.
#[utoipa::path(tag = "gremlin", request_body = Latency, responses((status = 200, body = Latency),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 401, content_type = "application/problem+json", body = ProblemBody)))]
#[post("/gremlin/latency")]
async fn set_latency(
    gremlin: web::Data<Gremlin>,
    request: HttpRequest,
    body: Body<Latency>,
) -> Result<web::Json<Latency>, Problem> {
    gremlin.allow(&request)?;
    gremlin.set_latency(body.0);
    Ok(web::Json(gremlin.latency()))
}

/// The gremlin's routes; none where it is switched off.
pub fn routes(gremlin: &Gremlin, service: &mut ServiceConfig<'_>) {
    if gremlin.config.enabled {
        service.service(show_latency).service(set_latency);
    }
}
