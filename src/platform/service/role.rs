//! The interface between the platform and a service.

use std::future::Future;

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::platform::client::metrics::ClientMetrics;
use crate::platform::db::{Database, Pools};
use crate::platform::fault_injection::Gremlin;
use crate::platform::http::health::Checks;
use crate::platform::http::metrics::HttpMetrics;
use crate::platform::http::middleware::access_log::RequestObserver;
use crate::platform::http::middleware::load_shedding::LoadShedder;
use crate::platform::observability::metrics::Registry;
use crate::platform::observability::task_metrics::TaskMetrics;
use crate::platform::shutdown::Shutdown;

/// A kind of service: what it adds to the platform.
pub trait Role: Clone + Send + 'static {
    /// The name of the service in health checks, metrics, logs and traces.
    const SERVICE: &'static str;
    /// Routes into which the gremlin injects no faults, in addition to those of every service. A
    /// path that ends with `/*` stands for all paths below it.
    const EXEMPT_FROM_FAULTS: &'static [&'static str] = &[];
    /// Whether only other services call this one, apart from the routes for operators. Such a
    /// service requires the service token.
    const INTERNAL: bool;
    /// Method and pattern of each route for operators. They take the extractor
    /// [`Operator`](crate::platform::http::operator::Operator).
    const OPERATOR_ROUTES: &'static [(&'static str, &'static str)] = &[];
    /// The tables that the service reads and writes.
    const TABLES: &'static [&'static str];

    /// Returns the health checks of the dependencies. Called once in each worker thread.
    fn checks(&self, platform: &Platform) -> Checks;

    /// Adds the routes and their state. Called once in each worker thread.
    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>);

    /// Returns a function that is called after each request.
    fn observer(&self) -> Option<RequestObserver> {
        None
    }

    /// Returns a function that rejects requests before anything else is done for them.
    fn load_shedder(&self) -> Option<LoadShedder> {
        None
    }

    /// Does the background work of the service on a separate thread, until a request to stop.
    fn background(self, _: Platform, _: Shutdown) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// The parts of the platform that a service uses on one thread. Clones share everything.
#[derive(Clone)]
pub struct Platform {
    /// The connection pool of this thread.
    pub database: Database,
    pub(super) pools: Pools,
    pub gremlin: Gremlin,
    /// The registry in which a service registers its own metrics.
    pub registry: Registry,
    pub http_metrics: web::Data<HttpMetrics>,
    pub client_metrics: web::Data<ClientMetrics>,
    pub(super) task_metrics: TaskMetrics,
}

impl Platform {
    /// Returns the platform for the current thread, with a connection pool of its own.
    #[must_use]
    pub fn for_this_thread(&self) -> Self {
        self.task_metrics.add_current_runtime();
        Self {
            database: self.pools.for_this_thread(),
            ..self.clone()
        }
    }
}
