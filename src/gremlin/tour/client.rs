//! A client of the platform's HTTP API, for one product.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::config::Config;
use super::error::TourError;
use super::placed_order::{EndedOrder, OwnOrders, PlacedOrder};
use crate::api::story::STORY;
use crate::api::{OrderDetail, OrderStatus};
use crate::audit::{Audit, Invariant};
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
/// The light counts whole seconds, so that its window is up to 1 s shorter than it says.
const WINDOW_MARGIN: Duration = Duration::from_secs(1);

pub struct PlatformClient {
    services: [(Client, BaseUrl); 3],
    token: Option<String>,
    product_id: String,
    /// The orders that the story placed. Calls without a response are not among them.
    placed: RefCell<Vec<PlacedOrder>>,
    /// Each invariant when the story began.
    invariants: Vec<Invariant>,
}

#[derive(Debug, Deserialize)]
pub struct Health {
    pub service: String,
    pub status: String,
}

impl PlatformClient {
    pub fn new(config: &Config) -> Self {
        let Config { urls, token, .. } = config.clone();
        Self {
            services: urls.map(|url| (Client::new(url.clone()), url)),
            token,
            product_id: String::new(),
            placed: RefCell::default(),
            invariants: Vec::new(),
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

    /// Ends all faults that the story or another user of the gremlin has set. A service that does
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
        self.invariants = audit.invariants;
        let product = audit
            .products
            .into_iter()
            .max_by_key(|product| product.available)
            .filter(|product| product.available >= STORY.min_stock)
            .ok_or(TourError::SoldOut(STORY.min_stock))?;
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
        let answer = client
            .post("/orders", &body, Deadline::after(CALL_TIMEOUT))
            .await;
        let failed = |cause| self.call_error("placing an order", service, cause);
        let answer = answer.map_err(failed)?;
        let duration = placed_at.elapsed();
        let body: Value = answer.json().map_err(failed)?;
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        let placed = PlacedOrder {
            status: answer.status.as_u16(),
            duration,
            message: text("message")
                .or_else(|| text("detail"))
                .unwrap_or_default(),
            id: text("id").or_else(|| text("order_id")),
            placed_at,
        };
        self.placed.borrow_mut().push(placed.clone());
        Ok(placed)
    }

    /// The orders that the platform took.
    pub fn placed_orders(&self) -> Vec<PlacedOrder> {
        let placed = self.placed.borrow();
        let taken = placed.iter().filter(|order| order.id.is_some());
        taken.cloned().collect()
    }

    /// The number of the story's orders in the light's window.
    pub fn orders_within(&self, window_seconds: u64) -> OwnOrders {
        let window = Duration::from_secs(window_seconds);
        let placed = self.placed.borrow();
        let count = |is_inside: &dyn Fn(&PlacedOrder) -> bool| {
            placed
                .iter()
                .filter(|order| is_inside(order))
                .map(|_| 1)
                .sum()
        };
        OwnOrders {
            certain: count(&|order| order.placed_at.elapsed() + WINDOW_MARGIN <= window),
            possible: count(&|order| order.age() <= window + WINDOW_MARGIN),
        }
    }

    /// An invariant when the story began.
    pub fn invariant_before(&self, name: &str) -> Option<&Invariant> {
        self.invariants
            .iter()
            .find(|invariant| invariant.name == name)
    }

    pub async fn sla(&self) -> Result<Sla, TourError> {
        self.read(ServiceKind::Order, "/sla").await
    }

    /// Waits until the order has ended, at most 30 s, and returns its state then; `None` if there
    /// is no such order.
    pub async fn wait_until_ended(
        &self,
        placed: &PlacedOrder,
    ) -> Result<Option<EndedOrder>, TourError> {
        let path = format!("/orders/{}", placed.id.as_deref().unwrap_or_default());
        let started = Instant::now();
        loop {
            let Some(detail) = self.find(&path).await? else {
                return Ok(None);
            };
            let is_final = detail.order.status.parse().is_ok_and(OrderStatus::is_final);
            if is_final || started.elapsed() > WAIT_TIMEOUT {
                return Ok(Some(ended(detail, is_final, placed.placed_at)));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for all these orders at once, so that many stuck ones take no longer than one.
    pub async fn wait_until_all_ended(
        &self,
        placed: &[PlacedOrder],
    ) -> Result<Vec<Option<EndedOrder>>, TourError> {
        try_join_all(placed.iter().map(|order| self.wait_until_ended(order))).await
    }

    /// An order; `None` if there is no such order.
    async fn find(&self, path: &str) -> Result<Option<OrderDetail>, TourError> {
        let service = ServiceKind::Order;
        let (client, _) = &self.services[service.index()];
        let failed = |cause| self.call_error("reading", service, cause);
        let answer = client.get(path, Deadline::after(CALL_TIMEOUT)).await;
        let answer = answer.map_err(failed)?;
        if answer.status.as_u16() == 404 {
            return Ok(None);
        }
        answer.json().map(Some).map_err(failed)
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

fn ended(detail: OrderDetail, is_final: bool, placed_at: Instant) -> EndedOrder {
    let OrderDetail { order, events, .. } = detail;
    let last = events.into_iter().next_back();
    let attempt = last.as_ref().map(|event| event.attempt).unwrap_or_default();
    // A failed order can have events after its failure, about what it gave back.
    let reason = order
        .failure_reason
        .or_else(|| last.map(|event| event.reason));
    EndedOrder {
        status: order.status,
        reason: reason.unwrap_or_default(),
        is_final,
        duration: placed_at.elapsed(),
        attempt,
    }
}
