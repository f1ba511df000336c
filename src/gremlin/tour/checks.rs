//! Checks that several steps share.

use super::client::{PlacedOrder, PlatformClient};
use super::error::TourError;
use super::narrator::Narrator;

/// One payment in ten is declined. This many declined payments in a row practically never happen.
pub const MAX_ORDERS: usize = 20;

/// Checks that an order is confirmed at once. An order whose payment is declined, or that is
/// pending because a circuit breaker is not closed yet, is followed by another one.
pub async fn check_confirmed_order(
    client: &PlatformClient,
    narrator: &mut Narrator,
) -> Result<(), TourError> {
    let mut placed = client.place_order().await?;
    for _ in 1..MAX_ORDERS {
        match placed.status {
            402 => narrator.remark(&format!("{} (as one payment in ten)", placed.describe())),
            202 => {
                narrator.remark(&placed.describe());
                client.wait_until_ended(&placed).await?;
            }
            _ => break,
        }
        placed = client.place_order().await?;
    }
    narrator.check("the customer", placed.status == 201, placed.describe());
    Ok(())
}

/// Checks that the order is confirmed, or failed because its payment was declined.
pub async fn check_end_of_order(
    client: &PlatformClient,
    narrator: &mut Narrator,
    placed: &PlacedOrder,
) -> Result<(), TourError> {
    let ended = client.wait_until_ended(placed).await?;
    let passed = ended.status == "CONFIRMED" || ended.reason == "payment-declined";
    narrator.check("the order", passed, ended.describe());
    Ok(())
}

/// Places orders until the SLA light has the colour, and checks that it has.
pub async fn check_sla_light(
    client: &PlatformClient,
    narrator: &mut Narrator,
    colour: &str,
) -> Result<(), TourError> {
    for _ in 0..MAX_ORDERS {
        if client.sla().await?.status == colour {
            break;
        }
        client.place_order().await?;
    }
    let sla = client.sla().await?;
    let found = format!(
        "{}: {} ms on average over {} orders",
        sla.status, sla.average_ms, sla.requests
    );
    narrator.check("the SLA light", sla.status == colour, found);
    Ok(())
}
