//! Order's HTTP.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use tokio::sync::Notify;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::admission::Intake;
use super::audit_cache::AuditCache;
use super::clients::{self, Inventory, Payments};
use super::dashboard::assets::Dashboard;
use super::dashboard::proxy::Services;
use super::events::feed::Feed;
use super::events::sse;
use super::events::sse::Places;
use super::idempotency;
use super::metrics::OrderMetrics;
use super::responses::answer;
use super::saga::executor::{Batchers, Driver};
use super::saga::recovery;
use super::saga::recovery::Worker;
use super::sla::{History, Sharing, Sla, Window};
use super::store::{self, Cursor, Filter, NewOrder};
use crate::api::{ListOrders, Order, OrderDetail, OrderEvent, OrderPage, OrderStatus, PlaceOrder};
use crate::audit::{Audit, AuditError, Elsewhere};
use crate::platform::client::dependency::Dependency;
use crate::platform::client::guard::{DependencyGuard, Route};
use crate::platform::client::{BaseUrl, Client};
use crate::platform::db::batcher::Batcher;
use crate::platform::db::{Database, DatabaseError, DatabaseUrl, WORK_TIMEOUT};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;
use crate::platform::http::extract::{Body, Query};
use crate::platform::http::health::Checks;
use crate::platform::http::middleware::access_log::RequestObserver;
use crate::platform::http::problem::{FieldError, Problem, ProblemBody};
use crate::platform::observability::trace_context;
use crate::platform::service::{Platform, Role};
use crate::platform::shutdown::Shutdown;

const PAGE_LENGTH: i32 = 20;
/// For a dependency to answer its own health check.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(1200);
/// Beyond both step deadlines, for the order's own statements.
const BUDGET_MARGIN: Duration = Duration::from_millis(100);
/// Beyond both step deadlines, until another may take the order over: longer than the request can
/// live.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// A call that takes this share of its deadline counts as failed for the breaker.
const SLOW_SHARE: f64 = 0.5;
pub const INVENTORY: &str = "inventory-service";
pub const PAYMENT: &str = "payment-service";

/// What the order service is configured with beside the platform.
#[derive(Debug, Clone)]
pub struct Config {
    pub inventory_url: BaseUrl,
    pub payment_url: BaseUrl,
    pub step_timeout: Duration,
    pub recovery: recovery::Config,
    pub dashboard: Dashboard,
    /// Shown to inventory and payment.
    pub service_token: Option<String>,
    /// For the audit alone, which has a connection of its own.
    pub database_url: DatabaseUrl,
    /// For the audit alone.
    pub elsewhere: Elsewhere,
}

/// The order role.
#[derive(Clone)]
pub struct OrderRole {
    config: Config,
    metrics: web::Data<OrderMetrics>,
    sla: Arc<Window>,
    audits: Arc<AuditCache>,
    intake: Arc<Intake>,
    feed: Feed,
    streams: Places,
    inventory: Arc<DependencyGuard>,
    payment: Arc<DependencyGuard>,
    /// Told when inventory or payment is back.
    recovered: Arc<Notify>,
}

impl OrderRole {
    /// # Errors
    /// When the series of the order service are registered already.
    pub fn new(config: Config, platform: &Platform) -> prometheus::Result<Self> {
        let recovered: Arc<Notify> = Arc::default();
        let slow = config.step_timeout.mul_f64(SLOW_SHARE);
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
            inventory: guard(INVENTORY, &[clients::RESERVE, clients::RELEASE]),
            payment: guard(
                PAYMENT,
                &[clients::CHARGE, clients::QUERY_PAYMENT, clients::REFUND],
            ),
            recovered,
            sla: Arc::default(),
            audits: Arc::new(AuditCache::new(
                config.database_url.clone(),
                config.elsewhere.clone(),
                config.recovery.bound,
            )),
            intake: Arc::default(),
            feed: Feed::new(platform.database.clone()),
            streams: Places::default(),
            metrics: web::Data::new(OrderMetrics::new(&platform.registry)?),
            config,
        })
    }

    /// The driver of customers' requests for one thread: connections belong to it.
    fn driver(&self, platform: &Platform) -> Driver {
        self.driver_with(platform, |dependency| dependency)
    }

    fn driver_with(&self, platform: &Platform, calls: impl Fn(Dependency) -> Dependency) -> Driver {
        let client =
            |url: &BaseUrl| Client::with_token(url.clone(), self.config.service_token.as_deref());
        let inventory = Dependency::new(
            client(&self.config.inventory_url),
            Arc::clone(&self.inventory),
        );
        let payment = Dependency::new(client(&self.config.payment_url), Arc::clone(&self.payment));
        Driver {
            database: platform.database.clone(),
            batchers: Batchers {
                inserts: Batcher::start(&platform.database, store::INSERT),
                changes: Batcher::start(&platform.database, store::CHANGE),
            },
            inventory: Inventory::new(calls(inventory)),
            payments: Payments::new(calls(payment)),
            metrics: self.metrics.clone(),
            step_timeout: self.config.step_timeout,
        }
    }
}

impl Role for OrderRole {
    const SERVICE: &'static str = "order-service";
    const INTERNAL: bool = false;
    const EXEMPT_FROM_FAULTS: &'static [&'static str] =
        &["/", "/dashboard.json", "/services/*", "/static/*"];
    const TABLES: &'static [&'static str] = &["orders", "order_events"];

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
        .and_service(INVENTORY, move || reachable(inventory.clone()))
        .and_service(PAYMENT, move || reachable(payment.clone()))
    }

    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>) {
        service
            .app_data(web::Data::new(platform.database.clone()))
            .app_data(web::Data::new(self.driver(platform)))
            .app_data(web::Data::from(Arc::clone(&self.sla)))
            .app_data(web::Data::from(Arc::clone(&self.audits)))
            .app_data(web::Data::from(Arc::clone(&self.intake)))
            .service(place)
            .app_data(web::Data::new(self.feed.clone()))
            .app_data(web::Data::new(self.streams.clone()))
            .service(list)
            .service(sse::follow)
            .service(show)
            .service(sla)
            .service(sla_history)
            .service(audit);
        let client = |url: &BaseUrl| Client::new(url.clone());
        let services = Services {
            inventory: client(&self.config.inventory_url),
            payment: client(&self.config.payment_url),
        };
        super::dashboard::proxy::routes(services, service);
        super::dashboard::assets::routes(&self.config.dashboard, service);
    }

    fn observer(&self) -> Option<RequestObserver> {
        let window = Arc::clone(&self.sla);
        Some(Arc::new(move |method, route, took| {
            if method == Method::POST && route == "/orders" {
                window.record(took);
            }
        }))
    }

    async fn background(self, platform: Platform, shutdown: Shutdown) {
        let worker = Worker {
            driver: self.driver_with(&platform, Dependency::without_opening_breakers),
            config: self.config.recovery,
            inventory: self.inventory,
            payment: self.payment,
            recovered: self.recovered,
            trouble: recovery::trouble(),
        };
        let sharing = tokio::task::spawn_local(Sharing::new(self.sla).run(platform.database));
        worker.run(shutdown).await;
        // A stream never ends by itself, and would hold the service up.
        self.feed.close();
        let _ = sharing.await;
    }
}

async fn reachable(client: Client) -> bool {
    let answer = client.get("/health", Deadline::after(HEALTH_TIMEOUT)).await;
    answer.is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// Places an order
///
/// Answers within two step deadlines and a margin, whatever inventory and payment do. A 202 order
/// is finished later by itself.
#[utoipa::path(tag = "order", request_body = PlaceOrder,
    params(("idempotency-key" = Option<String>, Header, description = "The same key and body: the same order and answer",
        min_length = 1, max_length = 255, pattern = r#"^([!#-~]([ -~]*[!-~])?|"([ !#-\[\]-~]|\\["\\])+")$"#)),
    responses(
    (status = 201, description = "Confirmed", body = Order, headers(("location" = String))),
    (status = 202, description = "Taken; a service behind is slow or down", body = Order,
        headers(("location" = String), ("retry-after" = i32))),
    (status = 400, description = "No order was made", content_type = "application/problem+json", body = ProblemBody),
    (status = 402, description = "payment-declined", content_type = "application/problem+json", body = ProblemBody),
    (status = 409, description = "insufficient-stock, or idempotency-key-in-flight", content_type = "application/problem+json", body = ProblemBody),
    (status = 422, description = "unknown-product, or idempotency-key-reused", content_type = "application/problem+json", body = ProblemBody),
    (status = 503, description = "With `Retry-After` and any code but `outcome-unknown`, no order was made and none will be. With `outcome-unknown`, whether the order was stored is not known: ask for `order_id`, or send the same key again", content_type = "application/problem+json", body = ProblemBody)))]
#[post("/orders")]
async fn place(
    request: HttpRequest,
    driver: web::Data<Driver>,
    intake: web::Data<Intake>,
    body: Body<PlaceOrder>,
) -> Result<HttpResponse, Problem> {
    let _place = intake.enter(&driver.metrics)?;
    let key = idempotency::key_of(request.headers())?;
    let budget = Deadline::after(driver.step_timeout * 2 + BUDGET_MARGIN);
    let new = NewOrder {
        id: Uuid::now_v7(),
        product_id: body.0.product_id.clone(),
        quantity: body.0.quantity,
        traceparent: trace_context::current_traceparent(),
        lease: driver.step_timeout * 2 + LEASE_MARGIN,
        idempotency_key: key.clone(),
    };
    let id = new.id;
    // Until it is answered.
    let _in_flight = driver.batchers.inserts.enter();
    let placed = driver
        .batchers
        .inserts
        .submit(new, Deadline::after(WORK_TIMEOUT))
        .await;
    let placed = placed.map_err(|error| not_known_to_be_stored(error, id, key.as_deref()))?;
    let Some(placed) = placed else {
        return answer_again(&driver, &body.0, key.as_deref().unwrap_or_default()).await;
    };
    tracing::Span::current().record("order_id", tracing::field::display(placed.id));
    driver
        .metrics
        .transitions
        .with_label_values(&[OrderStatus::Pending.as_str(), "placed"])
        .inc();
    failpoint::point("order.placed").await;
    let order = match driver.drive(placed.clone(), budget, false).await {
        Ok(order) => order,
        // The order is stored and recovery will finish it. A client that were asked to retry could
        // create a second order.
        Err(error) => {
            tracing::error!(order_id = %placed.id, %error, "the order's end could not be stored; recovery finishes it");
            placed
        }
    };
    answer(order)
}

/// The answer to an order whose insert failed. That nothing was stored is promised only where it is
/// certain.
fn not_known_to_be_stored(error: DatabaseError, id: Uuid, key: Option<&str>) -> Problem {
    if !error.is_outcome_unknown() {
        return error.of_write(id);
    }
    let ask = format!("GET /orders/{id} shows it once it is stored");
    let problem = error.of_write(id);
    match key {
        Some(_) => problem
            .and_detail(&format!(
                "{ask}; the same request with the same Idempotency-Key never makes a second order."
            ))
            .retry_after(1),
        None => problem.and_detail(&format!("{ask}; until then it answers 404.")),
    }
}

/// The key is taken: how its order stands now, or why that cannot be told.
async fn answer_again(
    driver: &Driver,
    body: &PlaceOrder,
    key: &str,
) -> Result<HttpResponse, Problem> {
    let keyed = driver
        .database
        .run_when_unlocked(async |connection| store::find_by_key(connection, key).await)
        .await;
    let keyed = keyed.map_err(DatabaseError::of_read)?;
    // It can have been forgotten in this very moment.
    let keyed = keyed.ok_or_else(|| {
        Problem::unavailable("idempotency-key-expired", "The key expired; try again.")
    })?;
    tracing::Span::current().record("order_id", tracing::field::display(keyed.order.id));
    let order = idempotency::repeated(keyed, body)?;
    driver.metrics.idempotent_replays.inc();
    match answer(order) {
        Ok(mut response) => {
            let replayed = HeaderName::from_static(idempotency::REPLAYED);
            response
                .headers_mut()
                .insert(replayed, HeaderValue::from_static("true"));
            Ok(response)
        }
        Err(problem) => Err(problem.with_header(idempotency::REPLAYED, "true")),
    }
}

/// One order with everything that happened to it
#[utoipa::path(tag = "order", params(("id" = Uuid, Path)), responses((status = 200, body = OrderDetail),
    (status = 404, content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/orders/{id}")]
async fn show(
    database: web::Data<Database>,
    id: web::Path<Uuid>,
) -> Result<web::Json<OrderDetail>, Problem> {
    tracing::Span::current().record("order_id", tracing::field::display(*id));
    let (order, events) = database
        .run_when_unlocked(async |connection| {
            let order = store::find(connection, *id).await?;
            Ok::<_, DatabaseError>((order, store::events(connection, *id).await?))
        })
        .await
        .map_err(DatabaseError::of_read)?;
    let order = order.ok_or_else(|| Problem::not_found("There is no such order."))?;
    let events = events.into_iter().map(OrderEvent::from).collect();
    Ok(web::Json(OrderDetail {
        order: order.into(),
        events,
    }))
}

/// Orders, the newest first
#[utoipa::path(tag = "order", params(ListOrders), responses((status = 200, body = OrderPage),
    (status = 400, content_type = "application/problem+json", body = ProblemBody),
    (status = 503, content_type = "application/problem+json", body = ProblemBody)))]
#[get("/orders")]
async fn list(
    database: web::Data<Database>,
    query: Query<ListOrders>,
) -> Result<web::Json<OrderPage>, Problem> {
    let ListOrders {
        status,
        product_id,
        settled,
        created_after,
        created_before,
        limit,
        cursor,
    } = query.0;
    let before = cursor
        .map(|cursor| cursor.parse::<Cursor>())
        .transpose()
        .map_err(|()| {
            let detail = "must be the next_cursor of a page".to_owned();
            Problem::invalid(vec![FieldError {
                field: "cursor".to_owned(),
                detail,
            }])
        })?;
    let limit = limit.unwrap_or(PAGE_LENGTH);
    // One more than asked for tells whether there is a next page.
    let filter = Filter {
        status,
        product_id: product_id.as_deref(),
        settled,
        created_after,
        created_before,
        before,
        limit: i64::from(limit) + 1,
    };
    let rows = database
        .run_when_unlocked(async |connection| store::list(connection, &filter).await)
        .await;
    let mut rows = rows.map_err(DatabaseError::of_read)?;
    let length = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > length;
    rows.truncate(length);
    let last = rows.last().map(|row| {
        Cursor {
            created_at: row.created_at,
            id: row.id,
        }
        .to_string()
    });
    let orders = rows.into_iter().map(Order::from).collect();
    Ok(web::Json(OrderPage {
        orders,
        next_cursor: last.filter(|_| more),
    }))
}

/// The service level of `POST /orders` over the last 30 s
///
/// Of all replicas together: what another one answered is in it within about a second.
#[utoipa::path(tag = "order", responses((status = 200, body = Sla)))]
#[get("/sla")]
async fn sla(window: web::Data<Window>) -> web::Json<Sla> {
    web::Json(window.report())
}

/// The service level of `POST /orders` over the last 10 minutes
///
/// Of all replicas together, as `/sla`.
#[utoipa::path(tag = "order", responses((status = 200, body = History)))]
#[get("/sla/history")]
async fn sla_history(window: web::Data<Window>) -> web::Json<History> {
    web::Json(window.history())
}

/// The invariants, checked on the live database
///
/// Reads the tables of all services: in one snapshot where they are in one database; where
/// inventory and payment have their own, the orders first. The result is of an audit that started
/// after the request, except where audits take longer than 250 ms: then it may be of one that
/// started up to twice as long ago as it took, and at most 10 s ago. `at` says when.
#[utoipa::path(tag = "order", responses((status = 200, body = Audit),
    (status = 501, description = "audit-not-configured: inventory or payment has its tables elsewhere", content_type = "application/problem+json", body = ProblemBody),
    (status = 503, description = "audit-unavailable: a table is locked, or the audit takes too long; or database-unavailable", content_type = "application/problem+json", body = ProblemBody)))]
#[get("/audit")]
async fn audit(audits: web::Data<AuditCache>) -> Result<web::Json<Audit>, Problem> {
    audits.audit().await.map(web::Json).map_err(no_audit)
}

fn no_audit(error: AuditError) -> Problem {
    match error {
        AuditError::Unreadable(error) => error.of_read(),
        AuditError::Unreachable { .. } => {
            let detail = "A database that the audit reads cannot be reached.";
            Problem::unavailable("database-unavailable", detail).with_cause(error)
        }
        AuditError::NotLocked(_) => {
            let detail =
                "The audit cannot read a table: something else has locked it, or it is not there.";
            Problem::unavailable("audit-unavailable", detail).with_cause(error)
        }
        AuditError::TimedOut => {
            let detail =
                "The audit did not end in time. Run `valerix audit`, which has no such limit.";
            Problem::unavailable("audit-unavailable", detail).with_cause(error)
        }
        AuditError::Aborted => Problem::internal(error),
        AuditError::Empty { .. } => Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "audit-not-configured",
            format!("{error}."),
        ),
    }
}
