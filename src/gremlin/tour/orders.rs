//! Places the orders of the story, and checks their responses and their ends.

use std::time::Duration;

use futures_util::future::join_all;

use super::client::PlatformClient;
use super::error::TourError;
use super::narrator::Narrator;
use super::placed_order::PlacedOrder;
use super::verdict::Verdict;

/// The expected responses to orders.
pub struct Expected {
    /// The name of the check.
    pub check: &'static str,
    pub status: u16,
    pub at_least_ms: Option<u32>,
    pub at_most_ms: Option<u32>,
    pub message: Option<&'static str>,
}

impl Expected {
    fn is_met_by(&self, placed: &PlacedOrder) -> bool {
        let ms = placed.duration.as_millis();
        placed.status == self.status
            && self.at_least_ms.is_none_or(|least| ms >= u128::from(least))
            && self.at_most_ms.is_none_or(|most| ms <= u128::from(most))
    }
}

/// Places orders at once, and checks each response.
pub async fn place_orders(
    client: &PlatformClient,
    narrator: &mut Narrator,
    orders: usize,
    expected: &Expected,
) -> Result<Vec<PlacedOrder>, TourError> {
    let placed = join_all((0..orders).map(|_| client.place_order())).await;
    let placed = placed.into_iter().collect::<Result<Vec<_>, _>>()?;
    let met = placed.iter().filter(|order| expected.is_met_by(order));
    let met = met.count();
    narrator.check(expected.check, met == orders, describe(&placed, expected));
    if let Some(message) = expected.message {
        let other = placed.iter().find(|order| order.message != message);
        let found = other.map_or(message, |order| &order.message);
        narrator.check("the message", other.is_none(), found);
    }
    Ok(placed)
}

fn describe(placed: &[PlacedOrder], expected: &Expected) -> String {
    if let [only] = placed {
        return only.describe();
    }
    let status = expected.status;
    let with_status = placed.iter().filter(|order| order.status == status);
    let with_status = with_status.count();
    let last = longest(placed.iter().map(|order| order.duration));
    format!(
        "{with_status} of {} got a {status}, the slowest after {last:.1} s",
        placed.len()
    )
}

/// Places orders until one is confirmed at once, and checks that one is.
pub async fn place_until_confirmed(
    client: &PlatformClient,
    narrator: &mut Narrator,
    check: &str,
    max_orders: usize,
) -> Result<(), TourError> {
    let mut placed = client.place_order().await?;
    for _ in 1..max_orders {
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
    narrator.check(check, placed.status == 201, placed.describe());
    Ok(())
}

/// Places orders until one is answered with this status in this time, and checks that one is.
pub async fn place_until_fast(
    client: &PlatformClient,
    narrator: &mut Narrator,
    expected: &Expected,
    max_orders: usize,
) -> Result<Vec<PlacedOrder>, TourError> {
    let mut placed = Vec::new();
    loop {
        let order = client.place_order().await?;
        let is_met = expected.is_met_by(&order);
        let description = order.describe();
        placed.push(order);
        if is_met || placed.len() == max_orders {
            narrator.check(expected.check, is_met, description);
            return Ok(placed);
        }
        narrator.remark(&description);
    }
}

/// Checks that each order ends: it is confirmed, or failed because its payment was declined.
pub async fn expect_ended(
    client: &PlatformClient,
    narrator: &mut Narrator,
    check: &str,
    pending: &[PlacedOrder],
) -> Result<(), TourError> {
    if pending.is_empty() {
        narrator.judge(check, Verdict::NotJudged, "no order was pending".to_owned());
        return Ok(());
    }
    let ended = client.wait_until_all_ended(pending).await?;
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    let as_expected = ended.iter().filter(|order| order.is_expected()).count();
    let passed = as_expected == pending.len();
    let found = match &*ended {
        [only] if pending.len() == 1 => only.describe(),
        _ => {
            let last = longest(ended.iter().map(|order| order.duration));
            let total = pending.len();
            let ended = format!("{as_expected} of {total} ended as expected");
            format!("{ended}, the last {last:.1} s after it was placed")
        }
    };
    narrator.check(check, passed, found);
    Ok(())
}

/// In seconds.
fn longest(durations: impl Iterator<Item = Duration>) -> f64 {
    durations.max().unwrap_or_default().as_secs_f64()
}
