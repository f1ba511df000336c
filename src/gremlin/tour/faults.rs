//! The steps on each kind of fault, and on the circuit breaker.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::checks::check_end_of_order;
use super::client::PlatformClient;
use super::error::TourError;
use super::narrator::Narrator;
use crate::api::tour::{self, Chapter};
use crate::testbed::service_kind::ServiceKind;

/// Enough calls that time out to open a circuit breaker. The chapter's texts name the number.
const CONCURRENT_ORDERS: usize = 16;
/// Less than the 2 s that the order service waits for one call.
const MAX_DURATION_WITH_OPEN_BREAKER: Duration = Duration::from_millis(1900);

/// A rule that fires once.
struct Fault {
    chapter: Chapter,
    service: ServiceKind,
    rule: Value,
}

fn faults() -> [Fault; 6] {
    let fault = |chapter, service, mut rule: Value| {
        let route = match service {
            ServiceKind::Order => "/orders",
            ServiceKind::Inventory => "/inventory/reserve",
            ServiceKind::Payment => "/payments",
        };
        rule["route"] = json!(route);
        rule["max_fires"] = json!(1);
        Fault {
            chapter,
            service,
            rule,
        }
    };
    let (inventory, payment) = (ServiceKind::Inventory, ServiceKind::Payment);
    [
        fault(
            tour::LATENCY,
            inventory,
            json!({"kind": "latency", "delay_ms": 3000}),
        ),
        fault(
            tour::ERROR,
            payment,
            json!({"kind": "error", "status": 500}),
        ),
        fault(tour::DROP, payment, json!({"kind": "drop"})),
        fault(tour::VANISH, payment, json!({"kind": "vanish"})),
        fault(tour::HANG, inventory, json!({"kind": "hang"})),
        fault(tour::CRASH, inventory, json!({"kind": "crash"})),
    ]
}

/// Shows one order while each kind of fault happens.
pub async fn show_each_kind(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    for fault in faults() {
        narrator.step(fault.chapter).await;
        client.wait_until_healthy().await?;
        let gremlin = client.gremlin(fault.service);
        let rule = gremlin.add_rule(&fault.rule).await?;
        let placed = client.place_order().await?;
        narrator.check("the customer", placed.status == 202, placed.describe());
        client.wait_until_healthy().await?;
        // A crash ends the rule together with its process.
        let rules = gremlin.rules().await?;
        if let Some(fired) = rules.iter().find(|known| known.id == rule.id) {
            let found = format!("fired {} time", fired.fired);
            narrator.check("the gremlin", fired.fired == 1, found);
            gremlin.remove_rule(rule.id).await?;
        }
        check_end_of_order(client, narrator, &placed).await?;
        let sla = client.sla().await?;
        narrator.remark(&format!(
            "the SLA light is {}: {} ms on average",
            sla.status, sla.average_ms
        ));
    }
    Ok(())
}

/// Shows many orders while calls to payment hang: the circuit breaker opens, so that the next order
/// does not wait.
pub async fn show_circuit_breaker(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    narrator.step(tour::CIRCUIT_BREAKER).await;
    let gremlin = client.gremlin(ServiceKind::Order);
    let hang = json!({"kind": "hang", "direction": "outbound", "dependency": "payment-service"});
    let rule = gremlin.add_rule(&hang).await?;
    let placed = join_all((0..CONCURRENT_ORDERS).map(|_| client.place_order())).await;
    let placed = placed.into_iter().collect::<Result<Vec<_>, _>>()?;
    let pending = placed.iter().filter(|placed| placed.status == 202).count();
    let slowest = placed
        .iter()
        .map(|placed| placed.duration)
        .max()
        .unwrap_or_default();
    let found = format!(
        "{pending} of {CONCURRENT_ORDERS} got a 202, the last after {:.1} s",
        slowest.as_secs_f64()
    );
    narrator.check("the customers", pending == CONCURRENT_ORDERS, found);

    let next = client.place_order().await?;
    let at_once = next.status == 202 && next.duration < MAX_DURATION_WITH_OPEN_BREAKER;
    narrator.check("the next customer", at_once, next.describe());

    gremlin.remove_rule(rule.id).await?;
    let (mut slowest, mut all_ended) = (Duration::ZERO, true);
    for placed in placed.iter().chain([&next]) {
        let ended = client.wait_until_ended(placed).await?;
        all_ended &= ended.is_expected();
        slowest = slowest.max(ended.duration);
    }
    let ended = if all_ended { "all" } else { "not all" };
    let seconds = slowest.as_secs_f64();
    let found = format!("{ended} ended, the last {seconds:.1} s after it was placed");
    narrator.check("their orders", all_ended, found);
    Ok(())
}
