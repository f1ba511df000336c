//! Checks that several steps share.

use std::time::Duration;

use super::client::{PlacedOrder, PlatformClient};
use super::error::TourError;
use super::narrator::Narrator;
use crate::order::sla::Sla;

/// One payment in ten is declined. This many declined payments in a row practically never happen.
pub const MAX_ORDERS: usize = 20;
const MAX_ORDERS_OF_OTHERS: u64 = 20;
/// The window of the SLA light, and a margin for orders at its edge.
const SLA_WINDOW: Duration = Duration::from_secs(32);

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
    narrator.check("the order", ended.is_expected(), ended.describe());
    Ok(())
}

/// Places orders until the SLA light has the colour, and checks that it has. The light covers all
/// customers: if it has another colour, it is judged only if all its orders are the tour's.
pub async fn check_sla_light(
    client: &PlatformClient,
    narrator: &mut Narrator,
    colour: &str,
) -> Result<(), TourError> {
    for _ in 0..MAX_ORDERS {
        let sla = client.sla().await?;
        let others = orders_of_others(&sla, client.orders_placed_within(SLA_WINDOW));
        // The tour's few orders cannot outweigh those of others.
        if sla.status == colour || others > MAX_ORDERS_OF_OTHERS {
            break;
        }
        client.place_order().await?;
    }
    let sla = client.sla().await?;
    let found = format!(
        "{}: {} ms on average over {} orders",
        sla.status, sla.average_ms, sla.requests
    );
    let others = orders_of_others(&sla, client.orders_placed_within(SLA_WINDOW));
    if is_judged(&sla, colour, others) {
        narrator.check("the SLA light", sla.status == colour, found);
    } else {
        narrator.remark(&format!("the SLA light: {found}"));
        narrator.remark(&format!("not judged: {others} of them are not the tour's"));
    }
    Ok(())
}

/// The number of orders in the window of the SLA light that the tour did not place.
const fn orders_of_others(sla: &Sla, own: u64) -> u64 {
    sla.requests.saturating_sub(own)
}

/// Whether the light's colour says something about the tour's orders.
fn is_judged(sla: &Sla, colour: &str, orders_of_others: u64) -> bool {
    sla.status == colour || orders_of_others == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn green(requests: u64) -> Sla {
        Sla {
            window_seconds: 30,
            requests,
            average_ms: 12.0,
            p50_ms: 12.0,
            p90_ms: 12.0,
            p99_ms: 12.0,
            threshold_ms: 1000,
            status: "green".to_owned(),
        }
    }

    #[test]
    fn an_sla_light_that_other_customers_keep_green_is_not_judged() {
        let sla = green(3000);
        assert!(!is_judged(&sla, "red", orders_of_others(&sla, 21)));
        assert!(is_judged(&sla, "green", orders_of_others(&sla, 21)));
    }

    #[test]
    fn an_sla_light_of_the_tours_own_orders_is_judged() {
        let sla = green(21);
        assert!(is_judged(&sla, "red", orders_of_others(&sla, 22)));
    }
}
