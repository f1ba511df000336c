//! The steps on health, on a slow service, and on the invariants.

use std::time::Duration;

use super::checks::{check_confirmed_order, check_end_of_order, check_sla_light};
use super::client::PlatformClient;
use super::error::TourError;
use super::narrator::Narrator;
use crate::api::tour;
use crate::audit::Invariant;
use crate::platform::fault_injection::Latency;
use crate::testbed::service_kind::ServiceKind;

/// The order service waits 2 s for one call.
const ONE_STEP: Duration = Duration::from_millis(1900);
/// A request ends within the time of two calls and a margin.
const TWO_STEPS: Duration = Duration::from_millis(4300);
const SLOW: Latency = Latency {
    enabled: true,
    delay_ms: 3000,
};
const OFF: Latency = Latency {
    enabled: false,
    delay_ms: 0,
};

pub async fn show_health(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    narrator.step(tour::HEALTH).await;
    for service in ServiceKind::ALL {
        let health = client.health(service).await?;
        narrator.check(&health.service, health.status == "healthy", &health.status);
    }
    Ok(())
}

pub async fn show_slow_inventory(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    let inventory = client.gremlin(ServiceKind::Inventory);
    narrator.step(tour::EVERYTHING_WORKS).await;
    check_confirmed_order(client, narrator).await?;

    narrator.step(tour::SLOW_INVENTORY).await;
    inventory.set_latency(SLOW).await?;
    let placed = client.place_order().await?;
    let in_time = (ONE_STEP..TWO_STEPS).contains(&placed.duration);
    narrator.check(
        "the customer",
        placed.status == 202 && in_time,
        placed.describe(),
    );
    let is_pending = placed.message == "Order is being processed";
    narrator.check("the message", is_pending, &placed.message);
    check_sla_light(client, narrator, "red").await?;

    narrator.step(tour::INVENTORY_IS_BACK).await;
    inventory.set_latency(OFF).await?;
    check_end_of_order(client, narrator, &placed).await?;
    check_confirmed_order(client, narrator).await?;
    check_sla_light(client, narrator, "green").await
}

pub async fn show_invariants(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    narrator.step(tour::INVARIANTS).await;
    let audit = client.audit_when_settled().await?;
    for Invariant {
        name,
        checked,
        violations,
        ..
    } in &audit.invariants
    {
        // A violation from before the tour says nothing about the tour's orders.
        let before = client.violations_before(name);
        let found = match before {
            0 => format!("{checked} checked, {violations} violations"),
            _ => format!("{checked} checked, {violations} violations, {before} before the tour"),
        };
        narrator.check(name, *violations <= before, found);
    }
    Ok(())
}
