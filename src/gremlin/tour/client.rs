//! The platform as the tour sees it: over HTTP alone.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::TourError;
use crate::api::{OrderDetail, OrderStatus};
use crate::audit::Audit;
use crate::gremlin::Handle;
use crate::order::sla::Sla;
use crate::platform::client::{BaseUrl, CallError, Client};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::Latency;
use crate::platform::output;

/// Longer than the platform lets a request take.
const CALL: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_secs(1);
/// For what has to happen by itself: a service that comes back, an order that is finished.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Order,
    Inventory,
    Payment,
}

pub struct Stage {
    order: Client,
    clients: [Client; 3],
    urls: [BaseUrl; 3],
    token: Option<String>,
    product_id: String,
}

#[derive(Debug, Deserialize)]
pub struct Health {
    pub service: String,
    pub status: String,
}

/// What a customer was told.
#[derive(Debug, Clone)]
pub struct Placed {
    pub status: u16,
    pub took: Duration,
    pub message: String,
    id: Option<String>,
    at: Instant,
}

impl Placed {
    pub fn tell(&self) -> String {
        format!(
            "{} after {:.2} s: {}",
            self.status,
            self.took.as_secs_f64(),
            self.message
        )
    }
}

/// How an order ended.
#[derive(Debug, Clone)]
pub struct Settled {
    pub status: String,
    pub reason: String,
    /// Since it was placed, as seen by one who asks again and again.
    pub after: Duration,
    attempt: i32,
}

impl Settled {
    pub fn tell(&self) -> String {
        let Self {
            status,
            reason,
            after,
            attempt,
        } = self;
        format!(
            "{status} ({reason}) {:.1} s after it was placed, by attempt {attempt}",
            after.as_secs_f64()
        )
    }
}

impl Stage {
    pub fn new(urls: &[BaseUrl; 3], token: Option<&str>) -> Self {
        let clients = urls.clone().map(Client::new);
        let (urls, token) = (urls.clone(), token.map(str::to_owned));
        Self {
            order: clients[0].clone(),
            clients,
            urls,
            token,
            product_id: String::new(),
        }
    }

    pub fn handle(&self, service: Service) -> Handle {
        Handle::new(&self.urls[service as usize], self.token.as_deref())
    }

    pub async fn is_up(&self) -> bool {
        let answer = self.order.get("/livez", Deadline::after(GLANCE)).await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }

    /// Takes back what the tour, or whoever was before it, has set. A service that is down has
    /// nothing set.
    pub async fn calm_down(&self) {
        for service in [Service::Order, Service::Inventory, Service::Payment] {
            let handle = self.handle(service);
            let calm = Latency {
                enabled: false,
                delay_ms: 0,
            };
            if let Err(error) = handle.set_latency(calm).await {
                output::complain(format_args!(
                    "the gremlin of {service:?} is still on: {error}"
                ));
            } else if let Err(error) = handle.clear().await {
                output::complain(format_args!(
                    "the gremlin of {service:?} keeps its rules: {error}"
                ));
            }
        }
    }

    /// The product of which most is in stock.
    pub async fn choose_product(&mut self, units: i64) -> Result<(), TourError> {
        let audit: Audit = self.read(Service::Order, "/audit").await?;
        let most = audit
            .products
            .into_iter()
            .max_by_key(|product| product.available);
        let product = most
            .filter(|product| product.available >= units)
            .ok_or(TourError::SoldOut)?;
        self.product_id = product.product_id;
        Ok(())
    }

    pub async fn health(&self, service: Service) -> Result<Health, TourError> {
        self.read(service, "/health").await
    }

    /// Waits until every service and what it depends on is there.
    pub async fn all_healthy(&self) -> Result<(), TourError> {
        let started = Instant::now();
        for service in [Service::Inventory, Service::Payment, Service::Order] {
            loop {
                match self.health(service).await {
                    Ok(health) if health.status == "healthy" => break,
                    Err(error) if started.elapsed() > PATIENCE => return Err(error),
                    _ if started.elapsed() > PATIENCE => break,
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        }
        Ok(())
    }

    pub async fn place(&self) -> Result<Placed, TourError> {
        let body = json!({"product_id": self.product_id, "quantity": 1});
        let at = Instant::now();
        let answer = self
            .order
            .post("/orders", &body, Deadline::after(CALL))
            .await;
        let answer = answer.map_err(|cause| self.failed("an order", Service::Order, cause))?;
        let took = at.elapsed();
        let body: Value = answer
            .json()
            .map_err(|cause| self.failed("an order", Service::Order, cause))?;
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        Ok(Placed {
            status: answer.status.as_u16(),
            took,
            message: text("message")
                .or_else(|| text("detail"))
                .unwrap_or_default(),
            id: text("id").or_else(|| text("order_id")),
            at,
        })
    }

    pub async fn sla(&self) -> Result<Sla, TourError> {
        self.read(Service::Order, "/sla").await
    }

    /// Waits for the order's end, and tells it as it then is.
    pub async fn settled(&self, placed: &Placed) -> Result<Settled, TourError> {
        let path = format!("/orders/{}", placed.id.as_deref().unwrap_or_default());
        let started = Instant::now();
        loop {
            let order: OrderDetail = self.read(Service::Order, &path).await?;
            let status = order.order.status;
            let ended = status.parse().is_ok_and(OrderStatus::is_final);
            if ended || started.elapsed() > PATIENCE {
                let last = order.events.last();
                // What a failed order gave back comes after what it failed of.
                let failed = order.order.failure_reason;
                return Ok(Settled {
                    status,
                    reason: failed
                        .or_else(|| Some(last?.reason.clone()))
                        .unwrap_or_default(),
                    attempt: last.map(|event| event.attempt).unwrap_or_default(),
                    after: placed.at.elapsed(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The books once nothing is owed any more.
    pub async fn settled_books(&self) -> Result<Audit, TourError> {
        let started = Instant::now();
        loop {
            let audit: Audit = self.read(Service::Order, "/audit").await?;
            if audit.orders.unsettled == 0 || started.elapsed() > PATIENCE {
                return Ok(audit);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        service: Service,
        path: &str,
    ) -> Result<T, TourError> {
        let client = &self.clients[service as usize];
        let answer = client
            .get(path, Deadline::after(CALL))
            .await
            .and_then(|answer| answer.json());
        answer.map_err(|cause| self.failed("reading", service, cause))
    }

    fn failed(&self, what: &'static str, service: Service, cause: CallError) -> TourError {
        TourError::Call {
            what,
            url: self.urls[service as usize].clone(),
            cause,
        }
    }
}
