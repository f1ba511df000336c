//! Places the campaign's orders as its customers would, and records every try.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::customer::{Customer, SentRequest};
use super::order_queue::OrderQueue;
use super::outcome::{Outcome, RequestFacts, Response};
use super::plan::PlannedOrder;
use crate::platform::observability::trace_context;

/// Longer than the API lets a request take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TRIES: usize = 6;
/// The pause after the nth try is n times this long.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Takes orders from the queue, and places one after the other, until none is left.
/// `url` is that of the route, with `/orders`.
pub async fn place_orders(queue: Rc<OrderQueue>, url: String) {
    let http = awc::Client::builder().timeout(RESPONSE_TIMEOUT).finish();
    while let Some(order) = queue.take().await {
        queue.finish(place_order(&http, &url, order).await);
    }
}

async fn place_order(http: &awc::Client, url: &str, order: PlannedOrder) -> Customer {
    let mut tries = vec![send(http, url, &order, true).await];
    while sends_again(&order, &tries) {
        let pause = RETRY_INTERVAL * u32::try_from(tries.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(pause).await;
        tries.push(send(http, url, &order, false).await);
    }
    Customer { order, tries }
}

/// Whether the customer sends its request again. It does so only if that cannot create a second
/// order.
fn sends_again(order: &PlannedOrder, tries: &[SentRequest]) -> bool {
    let Some(last) = tries.last().filter(|_| tries.len() < MAX_TRIES) else {
        return false;
    };
    match last.outcome {
        // No order was stored.
        Outcome::Rejected => true,
        // An order may be stored. Only a key prevents a second one.
        Outcome::NoAnswer | Outcome::Unknown | Outcome::InFlight => order.key.is_some(),
        Outcome::Unexpected(_) => false,
        // The order was acknowledged. Some customers ask a second time.
        Outcome::Confirmed
        | Outcome::Pending
        | Outcome::Declined
        | Outcome::OutOfStock
        | Outcome::UnknownProduct => {
            let acknowledgements = tries
                .iter()
                .filter(|sent| sent.outcome.acknowledges())
                .count();
            order.replays && acknowledgements == 1
        }
    }
}

/// Sends the request for an order once, with a trace id of its own.
async fn send(http: &awc::Client, url: &str, order: &PlannedOrder, first: bool) -> SentRequest {
    let traceparent = trace_context::unsampled_traceparent();
    let trace_id = trace_context::trace_id_of(&traceparent).unwrap_or_default();
    let mut call = http
        .post(url)
        .insert_header((trace_context::TRACEPARENT, traceparent));
    if let Some(key) = &order.key {
        call = call.insert_header(("idempotency-key", key.as_str()));
    }
    let body = json!({"product_id": order.product_id, "quantity": order.quantity});
    let Some(response) = read_response(call, &body).await else {
        return SentRequest {
            trace_id,
            outcome: Outcome::NoAnswer,
            order_id: None,
            code: None,
        };
    };
    let facts = RequestFacts {
        keyed: order.key.is_some(),
        first,
    };
    SentRequest {
        trace_id,
        outcome: Outcome::of(&response, facts),
        order_id: response.order_id,
        code: response.code,
    }
}

/// Returns `None` when the connection breaks or times out before the response is complete.
async fn read_response(call: awc::ClientRequest, body: &Value) -> Option<Response> {
    let mut response = call.send_json(body).await.ok()?;
    let bytes = response.body().limit(MAX_BODY_BYTES).await.ok()?;
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let id = body["id"].as_str().or_else(|| body["order_id"].as_str());
    let replayed = response.headers().get("idempotency-replayed");
    Some(Response {
        status: response.status().as_u16(),
        code: body["code"].as_str().map(str::to_owned),
        order_id: id.and_then(|id| Uuid::try_parse(id).ok()),
        retry_after: response.headers().contains_key("retry-after"),
        replayed: replayed.is_some_and(|value| value == "true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends_again_after(key: Option<&str>, replays: bool, outcomes: &[Outcome]) -> bool {
        let order = PlannedOrder {
            product_id: "P".into(),
            quantity: 1,
            key: key.map(str::to_owned),
            replays,
        };
        let sent = |outcome: &Outcome| SentRequest {
            trace_id: String::new(),
            outcome: *outcome,
            order_id: None,
            code: None,
        };
        let tries: Vec<_> = outcomes.iter().map(sent).collect();
        sends_again(&order, &tries)
    }

    #[test]
    fn without_a_key_a_request_is_sent_again_only_after_a_rejection() {
        assert!(sends_again_after(None, false, &[Outcome::Rejected]));
        for outcome in [
            Outcome::NoAnswer,
            Outcome::Unknown,
            Outcome::Unexpected(500),
            Outcome::Pending,
        ] {
            assert!(!sends_again_after(None, false, &[outcome]), "{outcome}");
        }
    }

    #[test]
    fn with_a_key_a_request_is_sent_again_until_it_is_answered() {
        let after = |outcomes: &[Outcome]| sends_again_after(Some("k"), false, outcomes);
        for outcome in [
            Outcome::NoAnswer,
            Outcome::Unknown,
            Outcome::InFlight,
            Outcome::Rejected,
        ] {
            assert!(after(&[outcome]), "{outcome}");
            assert!(!after(&[outcome; MAX_TRIES]), "{outcome}");
        }
        for outcome in [
            Outcome::Confirmed,
            Outcome::Pending,
            Outcome::Declined,
            Outcome::Unexpected(500),
        ] {
            assert!(!after(&[outcome]), "{outcome}");
        }
    }

    #[test]
    fn a_replay_is_sent_after_the_first_answer_and_not_after_the_second() {
        let (pending, confirmed) = (Outcome::Pending, Outcome::Confirmed);
        let after = |outcomes: &[Outcome]| sends_again_after(Some("k"), true, outcomes);
        assert!(after(&[Outcome::NoAnswer, pending]));
        assert!(after(&[pending, Outcome::InFlight]));
        assert!(!after(&[pending, Outcome::InFlight, confirmed]));
    }
}
