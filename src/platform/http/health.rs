//! `/health` for people and dashboards, `/livez` and `/readyz` for orchestrators.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_web::{HttpResponse, get, web};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemBody};
use crate::platform::timestamp::timestamp;

/// Upper bound on the time of the checks of one request. They run concurrently.
pub const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// `GET /health`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `healthy`, or `degraded` if any dependency fails its check.
    #[schema(example = "healthy")]
    pub status: String,
    #[schema(example = "order-service")]
    pub service: String,
    /// The time of the check, in RFC 3339.
    pub timestamp: String,
    /// By name: `connected` or `disconnected` for the database, `reachable` or `unreachable` for a
    /// service.
    pub dependencies: BTreeMap<String, String>,
}

/// A function that returns whether a dependency works.
type Check = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = bool>>>>;

/// The checks of the dependencies of a service.
#[derive(Clone)]
pub struct Checks {
    service: &'static str,
    database: Check,
    services: Vec<(&'static str, Check)>,
}

impl Checks {
    /// `service` is the name of the service itself. `database` checks its database.
    #[must_use]
    pub fn new<F: Future<Output = bool> + 'static>(
        service: &'static str,
        database: impl Fn() -> F + 'static,
    ) -> Self {
        Self {
            service,
            database: boxed(database),
            services: Vec::new(),
        }
    }

    /// Adds a service to the dependencies.
    #[must_use]
    pub fn with_service<F>(mut self, name: &'static str, check: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = bool> + 'static,
    {
        self.services.push((name, boxed(check)));
        self
    }

    async fn run(&self) -> Health {
        let database = async {
            (
                "database",
                state(&self.database, "connected", "disconnected").await,
            )
        };
        let services = self.services.iter().map(|(name, check)| async move {
            (*name, state(check, "reachable", "unreachable").await)
        });
        let (database, services) = tokio::join!(database, join_all(services));
        let all: Vec<_> = std::iter::once(database).chain(services).collect();
        let healthy = all.iter().all(|(_, (ok, _))| *ok);
        Health {
            status: if healthy { "healthy" } else { "degraded" }.to_owned(),
            service: self.service.to_owned(),
            timestamp: timestamp(),
            dependencies: all
                .into_iter()
                .map(|(name, (_, state))| (name.to_owned(), state.to_owned()))
                .collect(),
        }
    }
}

fn boxed<F: Future<Output = bool> + 'static>(check: impl Fn() -> F + 'static) -> Check {
    Rc::new(move || Box::pin(check()))
}

/// Runs a check. A check that takes too long fails.
async fn succeeds(check: &Check) -> bool {
    tokio::time::timeout(CHECK_TIMEOUT, check())
        .await
        .unwrap_or(false)
}

/// Runs a check, and returns its result and the name of that result.
async fn state(
    check: &Check,
    success: &'static str,
    failure: &'static str,
) -> (bool, &'static str) {
    if succeeds(check).await {
        (true, success)
    } else {
        (false, failure)
    }
}

/// The health of the service and of its dependencies
///
/// The status is always 200; the body says `degraded` if a dependency fails its check.
#[utoipa::path(tag = "platform", responses((status = 200, body = Health)))]
#[get("/health")]
pub async fn health(checks: web::Data<Checks>) -> web::Json<Health> {
    web::Json(checks.run().await)
}

/// The process is running
#[utoipa::path(tag = "platform", responses(
    (status = 200, description = "It is running.", content_type = "text/plain", body = String),
))]
#[get("/livez")]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// The service is ready: its database can be used
#[utoipa::path(tag = "platform", responses(
    (status = 200, description = "It is ready.", content_type = "text/plain", body = String),
    (status = 503, description = "Its database cannot be used.",
        content_type = "application/problem+json", body = ProblemBody),
))]
#[get("/readyz")]
pub async fn readyz(checks: web::Data<Checks>) -> Result<HttpResponse, Problem> {
    if succeeds(&checks.database).await {
        return Ok(HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body("ok\n"));
    }
    let detail = "The database of the service cannot be used.";
    Err(Problem::unavailable("not-ready", detail).with_cause("the check of the database failed"))
}
