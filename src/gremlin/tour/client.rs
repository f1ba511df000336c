//! A client of the platform's HTTP API, for one product.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::config::Config;
use super::error::TourError;
use crate::api::{OrderDetail, OrderStatus};
use crate::audit::Audit;
use crate::gremlin::client::GremlinClient;
use crate::order::sla::Sla;
use crate::platform::client::{BaseUrl, CallError, Client};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::Latency;
use crate::platform::output;
use crate::testbed::service_kind::ServiceKind;

/// Longer than the platform lets a request take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Limits the time in which a service must come back, and an order must end.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// More units than the tour orders.
const MIN_STOCK: i64 = 80;

pub struct PlatformClient {
    services: [(Client, BaseUrl); 3],
    token: Option<String>,
    product_id: String,
    /// When each order was placed.
    placed_at: RefCell<Vec<Instant>>,
    /// The violations of each invariant when the tour began.
    violations: BTreeMap<String, i64>,
}

#[derive(Debug, Deserialize)]
pub struct Health {
    pub service: String,
    pub status: String,
}

/// The response to `POST /orders`.
#[derive(Debug, Clone)]
pub struct PlacedOrder {
    pub status: u16,
    /// From the request to the response.
    pub duration: Duration,
    pub message: String,
    id: Option<String>,
    placed_at: Instant,
}

impl PlacedOrder {
    pub fn describe(&self) -> String {
        let seconds = self.duration.as_secs_f64();
        format!("{} after {seconds:.2} s: {}", self.status, self.message)
    }
}

/// How an order ended.
#[derive(Debug, Clone)]
pub struct EndedOrder {
    pub status: String,
    pub reason: String,
    /// From the request until the order's end was seen.
    pub duration: Duration,
    attempt: i32,
}

impl EndedOrder {
    /// Whether it is confirmed, or failed because its payment was declined.
    pub fn is_expected(&self) -> bool {
        self.status == "CONFIRMED" || self.reason == "payment-declined"
    }

    pub fn describe(&self) -> String {
        let seconds = self.duration.as_secs_f64();
        format!(
            "{} ({}) after {seconds:.1} s, by attempt {}",
            self.status, self.reason, self.attempt
        )
    }
}

impl PlatformClient {
    pub fn new(config: &Config) -> Self {
        let Config { urls, token, .. } = config.clone();
        Self {
            services: urls.map(|url| (Client::new(url.clone()), url)),
            token,
            product_id: String::new(),
            placed_at: RefCell::default(),
            violations: BTreeMap::new(),
        }
    }

    pub fn gremlin(&self, service: ServiceKind) -> GremlinClient {
        let (_, url) = &self.services[service.index()];
        GremlinClient::new(url, self.token.as_deref())
    }

    /// Whether the order service answers.
    pub async fn is_running(&self) -> bool {
        let (order, _) = &self.services[ServiceKind::Order.index()];
        let answer = order.get("/livez", Deadline::after(LIVENESS_TIMEOUT)).await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }

    /// Ends all faults that the tour or another user of the gremlin has set. A service that does
    /// not answer is reported on standard error.
    pub async fn end_all_faults(&self) {
        let off = Latency {
            enabled: false,
            delay_ms: 0,
        };
        for service in ServiceKind::ALL {
            let gremlin = self.gremlin(service);
            if let Err(error) = gremlin.set_latency(off).await {
                output::print_error(format_args!(
                    "cannot switch off the latency of the {service} service: {error}"
                ));
            } else if let Err(error) = gremlin.remove_all_rules().await {
                output::print_error(format_args!(
                    "cannot remove the gremlin rules of the {service} service: {error}"
                ));
            }
        }
    }

    /// Chooses the product with the most units in stock for all orders that follow, and records
    /// the violations that exist already.
    pub async fn prepare(&mut self) -> Result<(), TourError> {
        let audit: Audit = self.read(ServiceKind::Order, "/audit").await?;
        let invariants = audit.invariants.into_iter();
        self.violations = invariants
            .map(|invariant| (invariant.name, invariant.violations))
            .collect();
        let product = audit
            .products
            .into_iter()
            .max_by_key(|product| product.available)
            .filter(|product| product.available >= MIN_STOCK)
            .ok_or(TourError::SoldOut(MIN_STOCK))?;
        self.product_id = product.product_id;
        Ok(())
    }

    pub async fn health(&self, service: ServiceKind) -> Result<Health, TourError> {
        self.read(service, "/health").await
    }

    /// Waits until every service and its dependencies are healthy, at most 30 s.
    ///
    /// # Errors
    /// When a service does not answer at the end of that time.
    pub async fn wait_until_healthy(&self) -> Result<(), TourError> {
        let started = Instant::now();
        for service in [
            ServiceKind::Inventory,
            ServiceKind::Payment,
            ServiceKind::Order,
        ] {
            loop {
                match self.health(service).await {
                    Ok(health) if health.status == "healthy" => break,
                    Err(error) if started.elapsed() > WAIT_TIMEOUT => return Err(error),
                    _ if started.elapsed() > WAIT_TIMEOUT => break,
                    _ => tokio::time::sleep(POLL_INTERVAL).await,
                }
            }
        }
        Ok(())
    }

    /// Places an order for one unit.
    pub async fn place_order(&self) -> Result<PlacedOrder, TourError> {
        let service = ServiceKind::Order;
        let (client, _) = &self.services[service.index()];
        let body = json!({"product_id": self.product_id, "quantity": 1});
        let placed_at = Instant::now();
        self.placed_at.borrow_mut().push(placed_at);
        let answer = client
            .post("/orders", &body, Deadline::after(CALL_TIMEOUT))
            .await;
        let failed = |cause| self.call_error("placing an order", service, cause);
        let answer = answer.map_err(failed)?;
        let duration = placed_at.elapsed();
        let body: Value = answer.json().map_err(failed)?;
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        Ok(PlacedOrder {
            status: answer.status.as_u16(),
            duration,
            message: text("message")
                .or_else(|| text("detail"))
                .unwrap_or_default(),
            id: text("id").or_else(|| text("order_id")),
            placed_at,
        })
    }

    /// The number of orders that the tour placed within a time before now.
    pub fn orders_placed_within(&self, time: Duration) -> u64 {
        let placed_at = self.placed_at.borrow();
        let recent = placed_at.iter().filter(|at| at.elapsed() <= time);
        recent.map(|_| 1).sum()
    }

    /// The number of violations of an invariant when the tour began.
    pub fn violations_before(&self, invariant: &str) -> i64 {
        self.violations.get(invariant).copied().unwrap_or_default()
    }

    pub async fn sla(&self) -> Result<Sla, TourError> {
        self.read(ServiceKind::Order, "/sla").await
    }

    /// Waits until the order has ended, at most 30 s, and returns its state then.
    pub async fn wait_until_ended(&self, placed: &PlacedOrder) -> Result<EndedOrder, TourError> {
        let path = format!("/orders/{}", placed.id.as_deref().unwrap_or_default());
        let started = Instant::now();
        loop {
            let OrderDetail { order, events, .. } = self.read(ServiceKind::Order, &path).await?;
            let has_ended = order.status.parse().is_ok_and(OrderStatus::is_final);
            if has_ended || started.elapsed() > WAIT_TIMEOUT {
                let last = events.into_iter().next_back();
                let attempt = last.as_ref().map(|event| event.attempt).unwrap_or_default();
                // A failed order can have events after its failure, about what it gave back.
                let reason = order
                    .failure_reason
                    .or_else(|| last.map(|event| event.reason));
                return Ok(EndedOrder {
                    status: order.status,
                    reason: reason.unwrap_or_default(),
                    duration: placed.placed_at.elapsed(),
                    attempt,
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until every order is settled, at most 30 s, and returns the audit then.
    pub async fn audit_when_settled(&self) -> Result<Audit, TourError> {
        let started = Instant::now();
        loop {
            let audit: Audit = self.read(ServiceKind::Order, "/audit").await?;
            if audit.orders.unsettled == 0 || started.elapsed() > WAIT_TIMEOUT {
                return Ok(audit);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        service: ServiceKind,
        path: &str,
    ) -> Result<T, TourError> {
        let (client, _) = &self.services[service.index()];
        let answer = client.get(path, Deadline::after(CALL_TIMEOUT)).await;
        let parsed = answer.and_then(|answer| answer.json());
        parsed.map_err(|cause| self.call_error("reading", service, cause))
    }

    fn call_error(&self, what: &'static str, service: ServiceKind, cause: CallError) -> TourError {
        let (_, url) = &self.services[service.index()];
        TourError::Call {
            what,
            url: url.clone(),
            cause,
        }
    }
}
