//! The light of the answer time, which is judged only while all orders in its window are the
//! story's own.

use std::time::{Duration, Instant};

use super::client::PlatformClient;
use super::error::TourError;
use super::narrator::Narrator;
use super::placed_order::{OwnOrders, PlacedOrder};
use super::verdict::Verdict;
use crate::api::story::LightStatus;
use crate::order::sla::Sla;
use crate::platform::plural::{count, is_or_are};

const CHECK: &str = "the SLA light";
/// An order at the edge of the window is certainly outside after this time.
const EDGE_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The origin of the orders in the light's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// The story's alone.
    Own,
    /// Orders of the story are at the window's edge, so they may be inside or outside.
    Unclear,
    /// At least this many are of others.
    Others(u64),
}

impl Share {
    fn of(requests: u64, own: &OwnOrders) -> Self {
        if requests <= own.certain {
            Self::Own
        } else if requests <= own.possible {
            Self::Unclear
        } else {
            Self::Others(requests - own.possible)
        }
    }
}

/// Places orders until the light has the colour, and checks that it has. Returns the orders.
pub async fn expect_light(
    client: &PlatformClient,
    narrator: &mut Narrator,
    status: LightStatus,
    max_orders: usize,
) -> Result<Vec<PlacedOrder>, TourError> {
    let mut placed = Vec::new();
    loop {
        let (sla, share) = read(client).await?;
        let is_reached = sla.status == status.to_string();
        // The story's few orders cannot outweigh those of others.
        let is_hopeless = matches!(share, Share::Others(others)
            if usize::try_from(others).is_ok_and(|others| others > max_orders));
        if is_reached || is_hopeless || placed.len() == max_orders {
            judge(narrator, &sla, status, share);
            return Ok(placed);
        }
        placed.push(client.place_order().await?);
    }
}

/// Reads the light once no order of the story is at the edge of its window.
async fn read(client: &PlatformClient) -> Result<(Sla, Share), TourError> {
    let started = Instant::now();
    loop {
        let sla = client.sla().await?;
        let share = Share::of(sla.requests, &client.orders_within(sla.window_seconds));
        if share != Share::Unclear || started.elapsed() > EDGE_TIMEOUT {
            return Ok((sla, share));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn judge(narrator: &mut Narrator, sla: &Sla, status: LightStatus, share: Share) {
    let found = format!(
        "{}: {:.0} ms on average over {}",
        sla.status,
        sla.average_ms,
        count(sla.requests, "order")
    );
    let found = match share {
        Share::Own => found,
        Share::Unclear => format!("{found}; some may be of others"),
        Share::Others(others) => {
            format!("{found}; at least {others} {} of others", is_or_are(others))
        }
    };
    narrator.judge(CHECK, verdict(sla, status, share), found);
}

fn verdict(sla: &Sla, status: LightStatus, share: Share) -> Verdict {
    match share {
        Share::Own => Verdict::of(sla.status == status.to_string()),
        Share::Unclear | Share::Others(_) => Verdict::NotJudged,
    }
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
    fn a_light_that_orders_of_others_decide_is_not_judged() {
        for status in [LightStatus::Green, LightStatus::Red] {
            let share = Share::Others(2979);
            assert_eq!(verdict(&green(3000), status, share), Verdict::NotJudged);
        }
    }

    #[test]
    fn a_light_of_the_storys_own_orders_is_judged() {
        assert_eq!(
            verdict(&green(21), LightStatus::Green, Share::Own),
            Verdict::Passed
        );
        assert_eq!(
            verdict(&green(21), LightStatus::Red, Share::Own),
            Verdict::Failed
        );
    }

    #[test]
    fn an_order_at_the_edge_of_the_window_is_neither_own_nor_of_others() {
        let own = OwnOrders {
            certain: 3,
            possible: 4,
        };
        assert_eq!(Share::of(3, &own), Share::Own);
        assert_eq!(Share::of(4, &own), Share::Unclear);
        assert_eq!(Share::of(6, &own), Share::Others(2));
    }
}
