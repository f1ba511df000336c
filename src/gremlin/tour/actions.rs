//! Carries out the actions of the story, and checks what it expects.

use super::client::PlatformClient;
use super::error::TourError;
use super::invariants::{judge, new_violations};
use super::light::expect_light;
use super::narrator::Narrator;
use super::orders::{
    Expected, expect_ended, place_orders, place_until_confirmed, place_until_fast,
};
use super::placed_order::PlacedOrder;
use super::report::OrderCounts;
use crate::api::story::{Action, Chapter, StoryService};
use crate::platform::fault_injection::Latency;
use crate::platform::plural::count;
use crate::testbed::service_kind::ServiceKind;

/// The invariant that a second charge of an order violates.
const ONE_PAYMENT: &str = "one-payment-per-order";

/// Carries out the chapters of a story on one platform.
pub struct Interpreter<'a> {
    client: &'a PlatformClient,
    narrator: &'a mut Narrator,
    /// The services with a latency that the story has set.
    delayed: Vec<ServiceKind>,
    /// The rules that the story has added, the last one at the end.
    rules: Vec<(ServiceKind, u32)>,
    /// The orders that wait for a check that they end.
    pending: Vec<PlacedOrder>,
}

impl<'a> Interpreter<'a> {
    pub const fn new(client: &'a PlatformClient, narrator: &'a mut Narrator) -> Self {
        Self {
            client,
            narrator,
            delayed: Vec::new(),
            rules: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Tells the chapters in order.
    pub async fn run(mut self, chapters: &[Chapter]) -> Result<(), TourError> {
        for (index, chapter) in chapters.iter().enumerate() {
            let position = (index + 1, chapters.len());
            self.narrator
                .begin_chapter(position, chapter.captions)
                .await;
            for action in chapter.actions {
                self.carry_out(*action).await?;
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), TourError> {
        let client = self.client;
        match action {
            Action::ExpectHealthy => return self.expect_healthy().await,
            Action::WaitUntilHealthy => return client.wait_until_healthy().await,
            Action::SetLatency { service, delay_ms } => {
                return self.set_latency(kind(service), delay_ms).await;
            }
            Action::AddRule { service, rule } => {
                let service = kind(service);
                let rule = client.gremlin(service).add_rule(&rule).await?;
                self.rules.push((service, rule.id));
            }
            Action::ExpectFired { times } => return self.expect_fired(times).await,
            Action::EndFaults => return self.end_faults().await,
            Action::PlaceOrders {
                check,
                orders,
                status,
                at_least_ms,
                at_most_ms,
                message,
            } => {
                let expected = Expected {
                    check,
                    status,
                    at_least_ms,
                    at_most_ms,
                    message,
                };
                let placed = place_orders(client, self.narrator, orders, &expected).await?;
                self.await_end_of(placed);
            }
            Action::PlaceUntilConfirmed { check, max_orders } => {
                place_until_confirmed(client, self.narrator, check, max_orders).await?;
            }
            Action::PlaceUntilFast {
                check,
                status,
                at_most_ms,
                max_orders,
            } => {
                let expected = Expected {
                    check,
                    status,
                    at_least_ms: None,
                    at_most_ms: Some(at_most_ms),
                    message: None,
                };
                let placed = place_until_fast(client, self.narrator, &expected, max_orders).await?;
                self.await_end_of(placed);
            }
            Action::ExpectEnded { check } => {
                let pending = std::mem::take(&mut self.pending);
                expect_ended(client, self.narrator, check, &pending).await?;
            }
            Action::ExpectLight { status, max_orders } => {
                let placed = expect_light(client, self.narrator, status, max_orders).await?;
                self.await_end_of(placed);
            }
            Action::ExpectAllFinished => return self.expect_all_finished().await,
            Action::ExpectInvariants => return self.expect_invariants().await,
        }
        Ok(())
    }

    fn await_end_of(&mut self, placed: Vec<PlacedOrder>) {
        let pending = placed.into_iter().filter(|order| order.status == 202);
        self.pending.extend(pending);
    }

    async fn expect_healthy(&mut self) -> Result<(), TourError> {
        for service in ServiceKind::ALL {
            let health = self.client.health(service).await?;
            let is_healthy = health.status == "healthy";
            self.narrator
                .check(&health.service, is_healthy, &health.status);
        }
        Ok(())
    }

    async fn set_latency(&mut self, service: ServiceKind, delay_ms: u32) -> Result<(), TourError> {
        let latency = Latency {
            enabled: true,
            delay_ms,
        };
        self.delayed.push(service);
        let gremlin = self.client.gremlin(service);
        Ok(gremlin.set_latency(latency).await?)
    }

    async fn expect_fired(&mut self, times: u64) -> Result<(), TourError> {
        let Some((service, id)) = self.rules.last().copied() else {
            return Ok(());
        };
        let rules = self.client.gremlin(service).rules().await?;
        let fired = rules
            .iter()
            .find(|rule| rule.id == id)
            .map(|rule| rule.fired);
        let found = fired.map_or_else(
            || "the rule is gone".to_owned(),
            |fired| format!("fired {}", count(fired, "time")),
        );
        self.narrator
            .check("the gremlin", fired == Some(times), found);
        Ok(())
    }

    async fn end_faults(&mut self) -> Result<(), TourError> {
        for service in self.delayed.drain(..) {
            let off = Latency {
                enabled: false,
                delay_ms: 0,
            };
            self.client.gremlin(service).set_latency(off).await?;
        }
        for (service, id) in self.rules.drain(..) {
            let gremlin = self.client.gremlin(service);
            // A process that crashed has lost its rules.
            if gremlin.rules().await?.iter().any(|rule| rule.id == id) {
                gremlin.remove_rule(id).await?;
            }
        }
        Ok(())
    }

    async fn expect_all_finished(&mut self) -> Result<(), TourError> {
        let placed = self.client.placed_orders();
        let mut counts = OrderCounts {
            taken: placed.len(),
            ..OrderCounts::default()
        };
        for end in self.client.wait_until_all_ended(&placed).await? {
            match end {
                None => counts.lost += 1,
                Some(ended) => counts.finished += usize::from(ended.is_final),
            }
        }
        let are_finished = counts.finished == counts.taken;
        self.narrator.check("the orders", are_finished, counts);
        self.narrator.count_orders(counts);
        Ok(())
    }

    async fn expect_invariants(&mut self) -> Result<(), TourError> {
        let audit = self.client.audit_when_settled().await?;
        for invariant in &audit.invariants {
            let before = self.client.invariant_before(&invariant.name);
            let (verdict, found) = judge(before, invariant);
            self.narrator.judge(&invariant.name, verdict, found);
            if invariant.name == ONE_PAYMENT {
                let charged_twice = new_violations(before, invariant);
                self.narrator.count_charged_twice(charged_twice);
            }
        }
        Ok(())
    }
}

const fn kind(service: StoryService) -> ServiceKind {
    match service {
        StoryService::OrderService => ServiceKind::Order,
        StoryService::InventoryService => ServiceKind::Inventory,
        StoryService::PaymentService => ServiceKind::Payment,
    }
}
