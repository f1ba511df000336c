//! Places the campaign's orders as its customers would, and records every try.

use std::rc::Rc;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::api_client::ApiClient;
use super::config::{MAX_TRIES, RETRY_INTERVAL};
use super::customer::{Customer, SentRequest};
use super::operators::{KnownOrder, OrderAction, act};
use super::order_queue::OrderQueue;
use super::outcome::{Outcome, RequestFacts};
use super::plan::PlannedOrder;
use crate::platform::observability::trace_context;

/// Takes orders from the queue, and places one after the other, until none is left. Also starts the
/// operators of each order.
pub async fn place_orders(queue: Rc<OrderQueue>, client: ApiClient) {
    while let Some(order) = queue.take().await {
        let traceparent = trace_context::unsampled_traceparent();
        let (answered, answer) = oneshot::channel();
        let operators = start_operators(&queue, &client, &order, &traceparent, answer);
        let customer = place_order(&client, order, &traceparent, answered).await;
        queue.finish(customer, operators);
    }
}

/// Starts what is planned for the order. `traceparent` is that of the first request.
fn start_operators(
    queue: &Rc<OrderQueue>,
    client: &ApiClient,
    order: &PlannedOrder,
    traceparent: &str,
    answer: oneshot::Receiver<KnownOrder>,
) -> Option<JoinHandle<Vec<OrderAction>>> {
    let plan = order.operators.clone()?;
    let trace_id = trace_context::trace_id_of(traceparent).unwrap_or_default();
    let (queue, client) = (Rc::clone(queue), client.clone());
    Some(tokio::task::spawn_local(async move {
        queue.operators_allowed().await;
        act(client, plan, trace_id, answer).await
    }))
}

/// Sends the order until it is answered. `answered` gets the order when its id is in a response.
async fn place_order(
    client: &ApiClient,
    order: PlannedOrder,
    traceparent: &str,
    answered: oneshot::Sender<KnownOrder>,
) -> Customer {
    let mut answered = Some(answered);
    let mut tries = vec![send(client, &order, traceparent, true).await];
    loop {
        if let Some(known) = tries.last().and_then(known_order)
            && let Some(answered) = answered.take()
        {
            // Fails if no action is planned, or the operator has found the order in the list.
            let _ = answered.send(known);
        }
        if !sends_again(&order, &tries) {
            return Customer {
                order,
                tries,
                actions: Vec::new(),
            };
        }
        let pause = RETRY_INTERVAL * u32::try_from(tries.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(pause).await;
        let traceparent = trace_context::unsampled_traceparent();
        tries.push(send(client, &order, &traceparent, false).await);
    }
}

fn known_order(sent: &SentRequest) -> Option<KnownOrder> {
    Some(KnownOrder {
        id: sent.order_id?,
        answered: Some(sent.outcome),
    })
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
        | Outcome::UnknownProduct
        | Outcome::Cancelled => {
            let acknowledgements = tries
                .iter()
                .filter(|sent| sent.outcome.acknowledges())
                .count();
            order.replays && acknowledgements == 1
        }
    }
}

/// Sends the request for an order once. No two requests share a `traceparent`.
async fn send(
    client: &ApiClient,
    order: &PlannedOrder,
    traceparent: &str,
    first: bool,
) -> SentRequest {
    let trace_id = trace_context::trace_id_of(traceparent).unwrap_or_default();
    let body = json!({"product_id": order.product_id, "quantity": order.quantity});
    let key = order.key.as_deref();
    let Some(answer) = client.place_order(traceparent, key, &body).await else {
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
        outcome: Outcome::of(&answer, facts),
        order_id: answer.order_id(),
        code: answer.code(),
    }
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
            operators: None,
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
