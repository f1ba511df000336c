//! Configures the order service and wires its parts together.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::web;
use tokio::sync::Notify;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::admission::AdmissionControl;
use super::audit_cache::AuditCache;
use super::clients::{self, InventoryClient, PaymentClient};
use super::dashboard::assets::Dashboard;
use super::dashboard::demo::DemoControl;
use super::dashboard::{assets, demo, proxy, story};
use super::events::feed::Feed;
use super::events::sse::{self, StreamPermits};
use super::metrics::OrderMetrics;
use super::retention::RetentionLimits;
use super::retention::step::Retention;
use super::retention::worker::RetentionWorker;
use super::routes::{audit, operators, orders, retention_steps, sla};
use super::saga::executor::{Batchers, SagaExecutor};
use super::saga::operator_actions::OperatorActions;
use super::saga::recovery::{self, Worker};
use super::sla::{Replication, Window};
use super::store;
use crate::audit::RemoteDatabases;
use crate::platform::client::dependency::Dependency;
use crate::platform::client::guard::{DependencyGuard, Route};
use crate::platform::client::{BaseUrl, Client};
use crate::platform::db::DatabaseUrl;
use crate::platform::db::batcher::Batcher;
use crate::platform::deadline::Deadline;
use crate::platform::http::health::Checks;
use crate::platform::http::middleware::access_log::RequestObserver;
use crate::platform::http::middleware::load_shedding::LoadShedder;
use crate::platform::service::{Platform, Role};
use crate::platform::shutdown::Shutdown;

/// The time that a dependency has to answer a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(1200);
/// A call that takes longer than this share of the step timeout counts as failed for its breaker.
const SLOW_CALL_SHARE: f64 = 0.5;

/// The configuration of the order service, beside that of the platform.
#[derive(Debug, Clone)]
pub struct Config {
    pub inventory_url: BaseUrl,
    pub payment_url: BaseUrl,
    /// For one call to inventory or payment: connect, head and body together.
    pub step_timeout: Duration,
    pub recovery: recovery::Config,
    pub dashboard: Dashboard,
    /// Set by `valerix demo`.
    pub demo_control: Option<DemoControl>,
    /// Sent to inventory and payment as a bearer token.
    pub service_token: Option<String>,
    /// For the audit, which has a connection of its own.
    pub database_url: DatabaseUrl,
    /// For the audit.
    pub remote_databases: RemoteDatabases,
    /// Days after its last change at which an order that is over is deleted; `None`: never.
    pub retention_days: Option<u32>,
}

/// The order service. Clones share its state.
#[derive(Clone)]
pub struct OrderService {
    config: Config,
    metrics: web::Data<OrderMetrics>,
    sla: Arc<Window>,
    audits: Arc<AuditCache>,
    admission: Arc<AdmissionControl>,
    feed: Feed,
    stream_permits: StreamPermits,
    inventory: Arc<DependencyGuard>,
    payment: Arc<DependencyGuard>,
    /// Notified when a breaker of inventory or payment closes.
    recovered: Arc<Notify>,
}

impl OrderService {
    /// Must be called on the runtime that lives as long as the process.
    ///
    /// # Errors
    /// When the metrics of the order service are registered already.
    pub fn new(config: Config, platform: &Platform) -> prometheus::Result<Self> {
        let recovered: Arc<Notify> = Arc::default();
        let slow = config.step_timeout.mul_f64(SLOW_CALL_SHARE);
        let guard = |name, routes: &[Route]| {
            Arc::new(DependencyGuard::new(
                name,
                routes,
                slow,
                platform.client_metrics.clone(),
                platform.gremlin.clone(),
                Arc::clone(&recovered),
            ))
        };
        Ok(Self {
            inventory: guard(
                clients::INVENTORY,
                &[
                    clients::RESERVE,
                    clients::RELEASE,
                    clients::SHIP,
                    clients::FORGET_RESERVATIONS,
                ],
            ),
            payment: guard(
                clients::PAYMENT,
                &[
                    clients::CHARGE,
                    clients::QUERY_PAYMENT,
                    clients::REFUND,
                    clients::FORGET_PAYMENTS,
                ],
            ),
            recovered,
            sla: Arc::default(),
            audits: Arc::new(AuditCache::new(
                config.database_url.clone(),
                config.remote_databases.clone(),
                config.recovery.bound,
            )),
            admission: Arc::default(),
            feed: Feed::new(platform.database.clone()),
            stream_permits: StreamPermits::default(),
            metrics: web::Data::new(OrderMetrics::new(&platform.registry)?),
            config,
        })
    }

    /// An executor for the current thread, with connections of its own. `configure` is applied to
    /// its clients.
    fn executor(
        &self,
        platform: &Platform,
        configure: impl Fn(Dependency) -> Dependency,
    ) -> SagaExecutor {
        let dependency = |url: &BaseUrl, guard: &Arc<DependencyGuard>| {
            let token = self.config.service_token.as_deref();
            let client = Client::with_token(url.clone(), token);
            configure(Dependency::new(client, Arc::clone(guard)))
        };
        let inventory = dependency(&self.config.inventory_url, &self.inventory);
        let payment = dependency(&self.config.payment_url, &self.payment);
        SagaExecutor {
            database: platform.database.clone(),
            batchers: Batchers {
                inserts: Batcher::start(&platform.database, store::INSERT),
                transitions: Batcher::start(&platform.database, store::TRANSITION),
            },
            inventory: InventoryClient::new(inventory),
            payment: PaymentClient::new(payment),
            metrics: self.metrics.clone(),
            step_timeout: self.config.step_timeout,
        }
    }

    const fn retention_limits(&self) -> RetentionLimits {
        RetentionLimits {
            days: self.config.retention_days,
            key_ttl: self.config.recovery.key_ttl,
        }
    }
}

impl Role for OrderService {
    const SERVICE: &'static str = "order-service";
    const INTERNAL: bool = false;
    const EXEMPT_FROM_FAULTS: &'static [&'static str] = &[
        "/",
        "/dashboard.json",
        "/demo",
        "/demo/*",
        "/services/*",
        "/static/*",
        "/story.json",
    ];
    const TABLES: &'static [&'static str] = &[
        "orders",
        "order_events",
        "leaving_orders",
        "forgotten_events",
        "sla_reports",
    ];
    const OPERATOR_ROUTES: &'static [(&'static str, &'static str)] = operators::ROUTES;

    fn checks(&self, platform: &Platform) -> Checks {
        let database = platform.database.clone();
        let [inventory, payment] = [&self.config.inventory_url, &self.config.payment_url]
            .map(|url| Client::new(url.clone()));
        Checks::new(Self::SERVICE, move || {
            let database = database.clone();
            async move {
                database
                    .is_usable(async |connection| store::find(connection, Uuid::nil()).await)
                    .await
            }
        })
        .with_service(clients::INVENTORY, move || is_reachable(inventory.clone()))
        .with_service(clients::PAYMENT, move || is_reachable(payment.clone()))
    }

    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>) {
        let executor = self.executor(platform, |dependency| dependency);
        let actions = OperatorActions::new(&executor, self.config.recovery.bound);
        service
            .app_data(web::Data::new(platform.database.clone()))
            .app_data(web::Data::new(Retention::new(&executor)))
            .app_data(web::Data::new(executor))
            .app_data(web::Data::new(actions))
            .app_data(web::Data::new(self.retention_limits()))
            .app_data(web::Data::from(Arc::clone(&self.sla)))
            .app_data(web::Data::from(Arc::clone(&self.audits)))
            .app_data(web::Data::from(Arc::clone(&self.admission)))
            .app_data(web::Data::new(self.feed.clone()))
            .app_data(web::Data::new(self.stream_permits.clone()))
            .service(orders::place)
            .service(orders::list)
            // Before `orders::show`, whose pattern matches this path too.
            .service(sse::follow)
            .service(orders::show)
            .service(operators::cancel)
            .service(operators::fulfil)
            .service(operators::retry)
            .service(retention_steps::make_step)
            .service(sla::sla)
            .service(sla::sla_history)
            .service(audit::audit);
        let services = proxy::Services {
            inventory: Client::new(self.config.inventory_url.clone()),
            payment: Client::new(self.config.payment_url.clone()),
        };
        proxy::routes(services, service);
        if let Some(control) = &self.config.demo_control {
            demo::routes(control, service);
        }
        assets::routes(&self.config.dashboard, service);
        service.service(story::story);
    }

    fn observer(&self) -> Option<RequestObserver> {
        let window = Arc::clone(&self.sla);
        Some(Arc::new(move |method, route, latency| {
            if method == Method::POST && route == "/orders" {
                window.record(latency);
            }
        }))
    }

    fn load_shedder(&self) -> Option<LoadShedder> {
        let (admission, metrics) = (Arc::clone(&self.admission), self.metrics.clone());
        Some(Arc::new(move |method, path| {
            if method == Method::POST && path == "/orders" {
                admission.reject_if_full(&metrics)
            } else {
                None
            }
        }))
    }

    async fn background(self, platform: Platform, shutdown: Shutdown) {
        let executor = self.executor(&platform, Dependency::without_opening_breakers);
        if let Some(days) = self.config.retention_days {
            let worker = RetentionWorker {
                retention: Retention::new(&executor),
                older_than_days: i32::try_from(days).unwrap_or(i32::MAX),
            };
            tokio::task::spawn_local(worker.run(shutdown.clone()));
        }
        let worker = Worker {
            executor,
            config: self.config.recovery,
            inventory: self.inventory,
            payment: self.payment,
            recovered: self.recovered,
            database_incident: recovery::database_incident(),
        };
        let replication = Replication::new(self.sla).run(platform.database);
        let replication = tokio::task::spawn_local(replication);
        worker.run(shutdown).await;
        // A stream does not end by itself, and would keep the service from stopping.
        self.feed.close();
        let _ = replication.await;
    }
}

async fn is_reachable(client: Client) -> bool {
    let answer = client.get("/health", Deadline::after(HEALTH_TIMEOUT)).await;
    answer.is_ok_and(|answer| answer.status == StatusCode::OK)
}
