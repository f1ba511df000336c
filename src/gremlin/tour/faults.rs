//! The steps on each kind of fault, and on the circuit breaker.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::checks::check_end_of_order;
use super::client::PlatformClient;
use super::error::TourError;
use super::narrator::Narrator;
use crate::testbed::service_kind::ServiceKind;

/// Enough calls that time out to open a circuit breaker.
const CONCURRENT_ORDERS: usize = 16;
/// Less than the 2 s that the order service waits for one call.
const MAX_DURATION_WITH_OPEN_BREAKER: Duration = Duration::from_millis(1900);

/// A rule that fires once.
struct Fault {
    title: &'static str,
    service: ServiceKind,
    rule: Value,
}

fn faults() -> [Fault; 6] {
    let fault = |title, service, mut rule: Value| {
        let route = match service {
            ServiceKind::Order => "/orders",
            ServiceKind::Inventory => "/inventory/reserve",
            ServiceKind::Payment => "/payments",
        };
        rule["route"] = json!(route);
        rule["max_fires"] = json!(1);
        Fault {
            title,
            service,
            rule,
        }
    };
    let (inventory, payment) = (ServiceKind::Inventory, ServiceKind::Payment);
    [
        fault(
            "latency: inventory takes 3 s for one reservation",
            inventory,
            json!({"kind": "latency", "delay_ms": 3000}),
        ),
        fault(
            "error: payment answers 500",
            payment,
            json!({"kind": "error", "status": 500}),
        ),
        fault(
            "drop: payment closes the connection before the charge",
            payment,
            json!({"kind": "drop"}),
        ),
        fault(
            "vanish: payment charges, and closes the connection without an answer",
            payment,
            json!({"kind": "vanish"}),
        ),
        fault(
            "hang: inventory never answers",
            inventory,
            json!({"kind": "hang"}),
        ),
        fault(
            "crash: inventory reserves and commits, and its process dies",
            inventory,
            json!({"kind": "crash"}),
        ),
    ]
}

/// Shows one order while each kind of fault happens.
pub async fn show_each_kind(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    for fault in faults() {
        narrator.step(fault.title);
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
    narrator.step(&format!(
        "{CONCURRENT_ORDERS} orders at once, while the order service's calls to payment hang"
    ));
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
    let check = "the circuit breaker is open: the next customer";
    narrator.check(check, at_once, next.describe());

    gremlin.remove_rule(rule.id).await?;
    let mut slowest = Duration::ZERO;
    for placed in placed.iter().chain([&next]) {
        let ended = client.wait_until_ended(placed).await?;
        slowest = slowest.max(ended.duration);
    }
    let found = format!(
        "all ended, the last {:.1} s after it was placed",
        slowest.as_secs_f64()
    );
    narrator.check("their orders", true, found);
    Ok(())
}
