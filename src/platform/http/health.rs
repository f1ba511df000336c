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

/// All checks of a `/health` request run concurrently and end within this time.
pub const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `healthy`, or `degraded` when any dependency fails.
    #[schema(example = "healthy")]
    pub status: String,
    #[schema(example = "order-service")]
    pub service: String,
    pub timestamp: String,
    /// `connected` or `disconnected` for the database, `reachable` or `unreachable` for a service.
    pub dependencies: BTreeMap<String, String>,
}

type Check = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = bool>>>>;

/// The dependencies of a service, with a check for each.
#[derive(Clone)]
pub struct Checks {
    service: &'static str,
    database: Check,
    services: Vec<(&'static str, Check)>,
}

impl Checks {
    /// `database` must query a table that the service needs.
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

    #[must_use]
    pub fn and_service<F>(mut self, name: &'static str, check: impl Fn() -> F + 'static) -> Self
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
                word(&self.database, "connected", "disconnected").await,
            )
        };
        let services = self.services.iter().map(|(name, check)| async move {
            (*name, word(check, "reachable", "unreachable").await)
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
                .map(|(name, (_, word))| (name.to_owned(), word.to_owned()))
                .collect(),
        }
    }
}

fn boxed<F: Future<Output = bool> + 'static>(check: impl Fn() -> F + 'static) -> Check {
    Rc::new(move || Box::pin(check()))
}

async fn word(check: &Check, good: &'static str, bad: &'static str) -> (bool, &'static str) {
    let ok = tokio::time::timeout(CHECK_TIMEOUT, check())
        .await
        .unwrap_or(false);
    (ok, if ok { good } else { bad })
}

/// The service and everything it depends on
///
/// Always 200 while the process is up; `degraded` when a dependency fails.
#[utoipa::path(tag = "platform", responses((status = 200, body = Health)))]
#[get("/health")]
pub async fn health(checks: web::Data<Checks>) -> web::Json<Health> {
    web::Json(checks.run().await)
}

/// The process runs
#[utoipa::path(tag = "platform", responses((status = 200, description = "It runs.", content_type = "text/plain", body = String)))]
#[get("/livez")]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// The service can serve: its own database answers
#[utoipa::path(tag = "platform", responses(
    (status = 200, description = "It can serve.", content_type = "text/plain", body = String),
    (status = 503, description = "Its database does not answer.", content_type = "application/problem+json", body = ProblemBody),
))]
#[get("/readyz")]
pub async fn readyz(checks: web::Data<Checks>) -> Result<HttpResponse, Problem> {
    match word(&checks.database, "", "").await {
        (true, _) => Ok(HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body("ok\n")),
        (false, _) => Err(Problem::unavailable(
            "not-ready",
            "The database of the service does not answer.",
        )
        .with_cause("readiness check of the database failed")),
    }
}
