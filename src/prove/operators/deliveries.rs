//! Sends a delivery as an operator would, and records every try.

use serde_json::json;

use super::outcome::DeliveryOutcome;
use super::trace::traceparent;
use crate::prove::api_client::{Answer, ApiClient};
use crate::prove::config::{MAX_TRIES, RETRY_INTERVAL};
use crate::prove::plan::PlannedDelivery;

/// One request of a delivery, and its outcome.
#[derive(Debug, Clone)]
pub struct DeliveryTry {
    pub quantity: i32,
    pub outcome: DeliveryOutcome,
    /// The `code` of a problem document.
    pub code: Option<String>,
}

/// A delivery with all its tries, oldest first.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub planned: PlannedDelivery,
    pub tries: Vec<DeliveryTry>,
}

/// Sends a delivery until it is answered, and then again as planned.
pub async fn deliver(client: ApiClient, planned: PlannedDelivery) -> Delivery {
    tokio::time::sleep(planned.delay).await;
    let mut quantities = vec![planned.quantity];
    if planned.repeats {
        quantities.push(planned.quantity);
    }
    if planned.contradicts {
        quantities.push(planned.quantity * 2);
    }
    let mut tries = Vec::new();
    for quantity in quantities {
        for number in 1..=MAX_TRIES {
            let sent = send(&client, &planned, quantity).await;
            let is_undecided = sent.outcome.is_undecided();
            tries.push(sent);
            if !is_undecided {
                break;
            }
            let pause = RETRY_INTERVAL * u32::try_from(number).unwrap_or(u32::MAX);
            tokio::time::sleep(pause).await;
        }
    }
    Delivery { planned, tries }
}

async fn send(client: &ApiClient, planned: &PlannedDelivery, quantity: i32) -> DeliveryTry {
    let path = format!("/inventory/{}/deliveries", planned.product_id);
    let body = json!({"delivery_id": planned.delivery_id, "quantity": quantity});
    let answer = client.post_to_inventory(&path, &traceparent(), &body).await;
    let Some(answer) = answer else {
        return DeliveryTry {
            quantity,
            outcome: DeliveryOutcome::NoAnswer,
            code: None,
        };
    };
    let outcome = DeliveryOutcome::of(&answer);
    let is_other = outcome.acknowledges() && !is_about(&answer, planned, quantity);
    DeliveryTry {
        quantity,
        outcome: if is_other {
            DeliveryOutcome::Unexpected(answer.status)
        } else {
            outcome
        },
        code: answer.code(),
    }
}

fn is_about(answer: &Answer, planned: &PlannedDelivery, quantity: i32) -> bool {
    let body = &answer.body;
    body["delivery_id"] == planned.delivery_id.as_str()
        && body["product_id"] == planned.product_id.as_str()
        && body["quantity"] == quantity
}
