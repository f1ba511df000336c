//! The campaign's customers: each takes the next request from the queue, places the order, and
//! records every try.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use super::check::{Customer, Try};
use super::outcome::{Context, Outcome, Response};
use super::plan::{Plan, Request};
use crate::platform::observability::trace_context;

/// Beyond what the contract allows a request to take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TRIES: usize = 6;
/// Grows with each try.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The requests, released bit by bit between the faults.
pub struct Queue {
    requests: Vec<Request>,
    url: String,
    next: Cell<usize>,
    open: Cell<usize>,
    opened: Notify,
    taken: Notify,
    customers: RefCell<Vec<Customer>>,
    bar: ProgressBar,
}

impl Queue {
    pub fn new(plan: &Plan, url: String, bar: ProgressBar) -> Self {
        Self {
            requests: plan.requests.clone(),
            url,
            next: Cell::new(0),
            open: Cell::new(0),
            opened: Notify::new(),
            taken: Notify::new(),
            customers: RefCell::default(),
            bar,
        }
    }

    /// Lets requests through up to this one, and returns when the last of them was taken.
    pub async fn open_up_to(&self, position: usize) {
        self.open.set(position);
        self.opened.notify_waiters();
        while self.next.get() < position {
            self.taken.notified().await;
        }
    }

    async fn take(&self) -> Option<Request> {
        loop {
            let next = self.next.get();
            if next == self.requests.len() {
                return None;
            }
            if next < self.open.get() {
                self.next.set(next + 1);
                self.taken.notify_one();
                if next + 1 == self.requests.len() {
                    self.opened.notify_waiters();
                }
                return Some(self.requests[next].clone());
            }
            self.opened.notified().await;
        }
    }

    /// Every customer so far, with all tries.
    pub fn customers(&self) -> Vec<Customer> {
        self.customers.borrow().clone()
    }
}

/// Places orders until the queue is empty.
pub async fn shop(queue: Rc<Queue>) {
    let http = awc::Client::builder().timeout(ANSWER_TIMEOUT).finish();
    while let Some(request) = queue.take().await {
        let customer = order(&http, &queue.url, request).await;
        queue.customers.borrow_mut().push(customer);
        queue.bar.inc(1);
    }
}

async fn order(http: &awc::Client, url: &str, request: Request) -> Customer {
    let mut tries = vec![attempt(http, url, &request, true).await];
    while sends_again(&request, &tries) {
        let pause = RETRY_INTERVAL * u32::try_from(tries.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(pause).await;
        tries.push(attempt(http, url, &request, false).await);
    }
    Customer { request, tries }
}

/// Whether the customer may send its request again without the risk of a second order, and does.
fn sends_again(request: &Request, tries: &[Try]) -> bool {
    let Some(last) = tries.last().filter(|_| tries.len() < MAX_TRIES) else {
        return false;
    };
    match last.outcome {
        // Nothing was done.
        Outcome::Refused => true,
        // The order may be stored: only a key makes sure that there is no second one.
        Outcome::NoAnswer | Outcome::Unknown | Outcome::InFlight => request.key.is_some(),
        Outcome::Unexpected(_) => false,
        // The customer has its answer. Some ask for it a second time.
        Outcome::Confirmed
        | Outcome::Pending
        | Outcome::Declined
        | Outcome::OutOfStock
        | Outcome::UnknownProduct => {
            let answers = tries
                .iter()
                .filter(|attempt| attempt.outcome.acknowledges())
                .count();
            request.replays && answers == 1
        }
    }
}

/// Sends the request once, in a trace of its own.
async fn attempt(http: &awc::Client, url: &str, request: &Request, first: bool) -> Try {
    let traceparent = trace_context::unsampled_traceparent();
    let trace_id = trace_context::trace_id_of(&traceparent).unwrap_or_default();
    let mut call = http
        .post(url)
        .insert_header((trace_context::TRACEPARENT, traceparent));
    if let Some(key) = &request.key {
        call = call.insert_header(("idempotency-key", key.as_str()));
    }
    let body = json!({"product_id": request.product_id, "quantity": request.quantity});
    let Some(response) = send(call, &body).await else {
        return Try {
            trace_id,
            outcome: Outcome::NoAnswer,
            order_id: None,
            code: None,
        };
    };
    let outcome = Outcome::of(
        &response,
        Context {
            keyed: request.key.is_some(),
            first,
        },
    );
    Try {
        trace_id,
        outcome,
        order_id: response.order_id,
        code: response.code,
    }
}

/// `None` when the connection broke or timed out before the response was complete.
async fn send(call: awc::ClientRequest, body: &Value) -> Option<Response> {
    let mut response = call.send_json(body).await.ok()?;
    let bytes = response.body().limit(MAX_BODY_BYTES).await.ok()?;
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let id = body["id"].as_str().or_else(|| body["order_id"].as_str());
    Some(Response {
        status: response.status().as_u16(),
        code: body["code"].as_str().map(str::to_owned),
        order_id: id.and_then(|id| Uuid::try_parse(id).ok()),
        retry_after: response.headers().contains_key("retry-after"),
        replayed: response
            .headers()
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends_again_after(key: Option<&str>, replays: bool, outcomes: &[Outcome]) -> bool {
        let key = key.map(str::to_owned);
        let request = Request {
            product_id: "P".into(),
            quantity: 1,
            key,
            replays,
        };
        let told = |outcome: &Outcome| Try {
            trace_id: String::new(),
            outcome: *outcome,
            order_id: None,
            code: None,
        };
        sends_again(&request, &outcomes.iter().map(told).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_key_a_request_is_sent_again_only_after_a_refusal() {
        assert!(sends_again_after(None, false, &[Outcome::Refused]));
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
        for outcome in [
            Outcome::NoAnswer,
            Outcome::Unknown,
            Outcome::InFlight,
            Outcome::Refused,
        ] {
            assert!(sends_again_after(Some("k"), false, &[outcome]), "{outcome}");
            assert!(
                !sends_again_after(Some("k"), false, &[outcome; MAX_TRIES]),
                "{outcome}"
            );
        }
        for outcome in [
            Outcome::Confirmed,
            Outcome::Pending,
            Outcome::Declined,
            Outcome::Unexpected(500),
        ] {
            assert!(
                !sends_again_after(Some("k"), false, &[outcome]),
                "{outcome}"
            );
        }
    }

    #[test]
    fn a_replay_is_sent_after_the_first_answer_and_not_after_the_second() {
        let (pending, confirmed) = (Outcome::Pending, Outcome::Confirmed);
        assert!(sends_again_after(
            Some("k"),
            true,
            &[Outcome::NoAnswer, pending]
        ));
        assert!(sends_again_after(
            Some("k"),
            true,
            &[pending, Outcome::InFlight]
        ));
        assert!(!sends_again_after(
            Some("k"),
            true,
            &[pending, Outcome::InFlight, confirmed]
        ));
    }
}
