//! The campaign's customers: each takes the next wish from the queue, orders, and notes the answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use super::check::{Answer, Outcome};
use super::plan::{Plan, Request};

/// Beyond what the contract allows a request to take.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// The wishes, opened bit by bit between the faults.
pub struct Queue {
    requests: Vec<Request>,
    url: String,
    next: Cell<usize>,
    open: Cell<usize>,
    opened: Notify,
    taken: Notify,
    answers: RefCell<Vec<Answer>>,
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
            answers: RefCell::default(),
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

    pub fn answers(&self) -> Vec<Answer> {
        self.answers.borrow().clone()
    }
}

/// One customer, until there is nothing left to order.
pub async fn shop(queue: Rc<Queue>) {
    let http = awc::Client::builder().timeout(PATIENCE).finish();
    while let Some(request) = queue.take().await {
        let answer = order(&http, &queue.url, request).await;
        queue.answers.borrow_mut().push(answer);
        queue.bar.inc(1);
    }
}

async fn order(http: &awc::Client, url: &str, request: Request) -> Answer {
    let body = json!({"product_id": request.product_id, "quantity": request.quantity});
    let mut tries = 0;
    loop {
        tries += 1;
        let mut call = http.post(url);
        if let Some(key) = &request.key {
            call = call.insert_header(("idempotency-key", key.as_str()));
        }
        let (outcome, order_id) = match call.send_json(&body).await {
            Ok(mut response) => {
                let status = response.status().as_u16();
                let body = response.json::<Value>().limit(64 * 1024).await.unwrap_or_default();
                let id = body["id"].as_str().or_else(|| body["order_id"].as_str());
                (outcome_of(status, body["code"].as_str()), id.and_then(|id| Uuid::try_parse(id).ok()))
            }
            Err(_) => (Outcome::NoAnswer, None),
        };
        // Only a key makes it safe to ask again after silence; a 503 says that nothing was done.
        let again = matches!(outcome, Outcome::InFlight | Outcome::Refused)
            || (outcome == Outcome::NoAnswer && request.key.is_some());
        if !again || tries == MOST_TRIES {
            return Answer { request, outcome, order_id, tries };
        }
        tokio::time::sleep(BETWEEN_TRIES * tries).await;
    }
}

fn outcome_of(status: u16, code: Option<&str>) -> Outcome {
    match (status, code) {
        (201, _) => Outcome::Confirmed,
        (202, _) => Outcome::Pending,
        (402, _) | (409, Some("insufficient-stock")) => Outcome::Failed,
        (409, Some("idempotency-key-in-flight")) => Outcome::InFlight,
        (503, _) => Outcome::Refused,
        // The gremlin's, at the order service's door: whoever gets it knows nothing.
        (_, Some("injected-fault")) => Outcome::NoAnswer,
        _ => Outcome::Unexpected(status),
    }
}
