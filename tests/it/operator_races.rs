//! Orders that are cancelled or fulfilled at random moments, while inventory and payment are
//! killed: each ends as its clients were answered, and keeps nothing that it should not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::harness::{Response, Service, Stack, eventually, stock_of};

const ORDER: &str = r#"{"product_id":"PROD-001","quantity":1}"#;

/// How many orders race. A longer race is run by hand, with `VALERIX_RACE_ORDERS=200`.
fn orders() -> u64 {
    std::env::var("VALERIX_RACE_ORDERS").map_or(60, |orders| orders.parse().unwrap())
}

/// The answers to the clients of one order.
struct Answers {
    key: String,
    placed: Response,
    acted: Response,
}

/// Sends a request until the answer is not a 503 with `Retry-After`. Such an answer promises that
/// nothing was done.
async fn send(order: &Service, path: &str, key: &str) -> Response {
    let headers = [("idempotency-key", key)];
    eventually("an answer", async || {
        let response = order
            .request(Method::POST, path, &headers, Some(ORDER))
            .await;
        let is_busy = response.status == 503 && response.headers.contains_key("retry-after");
        (!is_busy).then_some(response)
    })
    .await
}

async fn place(order: &Service, key: &str) -> Response {
    send(order, "/orders", key).await
}

/// Places an order, and sends the action a random time after the order was stored, whether the
/// request of the order has been answered or not.
async fn race(order: &Service, session: &Client, action: &str, seed: u64) -> Answers {
    let mut random = StdRng::seed_from_u64(seed);
    let start = Duration::from_millis(random.random_range(0..50 * orders()));
    let delay = Duration::from_millis(random.random_range(0..900));
    let key = format!("race-{seed}");
    tokio::time::sleep(start).await;
    let act = async {
        let find = format!("SELECT id::text FROM orders WHERE idempotency_key = '{key}'");
        let id: String = eventually("the order to be stored", async || {
            let rows = session.query(&find, &[]).await.unwrap();
            rows.first().map(|row| row.get(0))
        })
        .await;
        tokio::time::sleep(delay).await;
        send(order, &format!("/orders/{id}/{action}"), &key).await
    };
    let (placed, acted) = tokio::join!(place(order, &key), act);
    Answers { key, placed, acted }
}

/// Runs the orders while inventory and payment are killed in turn, and waits until all are settled.
async fn race_all(stack: &mut Stack, action: &str) -> Vec<Answers> {
    stack.database.execute(&stock_of(10_000)).await;
    let session = stack.database.session().await;
    let (order, env) = (&stack.order, &stack.env);
    let (inventory, payment) = (&mut stack.inventory, &mut stack.payment);
    let is_over = AtomicBool::new(false);
    let races = async {
        let races = (0..orders()).map(|seed| race(order, &session, action, seed));
        let answers = join_all(races).await;
        is_over.store(true, Ordering::Relaxed);
        answers
    };
    let kills = async {
        for round in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let service = if round % 2 == 0 {
                &mut *inventory
            } else {
                &mut *payment
            };
            service.process.signal(Signal::SIGKILL);
            tokio::time::sleep(Duration::from_millis(200)).await;
            service.restart(env, &[]).await;
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
    };
    let (answers, ()) = tokio::join!(races, kills);
    stack.wait_until_settled().await;
    answers
}

/// Counts the orders by the status and the code of each answer.
fn print_figures(action: &str, answers: &[Answers]) {
    let name = |response: &Response| {
        let code = response.json()["code"].as_str().map(str::to_owned);
        format!("{} {}", response.status.as_u16(), code.unwrap_or_default())
    };
    let mut figures = BTreeMap::<_, u32>::new();
    for Answers { placed, acted, .. } in answers {
        *figures.entry((name(placed), name(acted))).or_default() += 1;
    }
    for ((placed, acted), count) in figures {
        println!("{count} orders: placed {placed}, {action} {acted}");
    }
}

/// The reasons of the order's events from this one on; none if there is no such event.
fn reasons_from(reason: &str, reasons: &[String]) -> Vec<String> {
    let from = reasons.iter().position(|other| other == reason);
    from.map_or(Vec::new(), |from| reasons[from..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_cancelled_at_random_moments_under_kills_end_as_their_clients_were_answered() {
    let mut stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "500")]).await;
    let answers = race_all(&mut stack, "cancel").await;
    print_figures("cancel", &answers);
    for Answers { key, placed, acted } in &answers {
        let id = acted.order_id();
        assert_eq!(acted.status, 200, "{acted:?}");
        let order = stack.order.order(&id).await;
        assert_eq!(
            (&order["status"], &order["failure_reason"]),
            (&json!("FAILED"), &json!("cancelled"))
        );
        let holdings = stack.holdings(&id).await;
        assert!(
            !holdings.contains("HELD") && !holdings.contains("SUCCESS"),
            "{holdings}: {order:#}"
        );
        let reasons = stack.reasons(&id).await;
        let is_cancelled = reasons_from("cancelled", &reasons);
        assert!(!is_cancelled.contains(&"confirmed".to_owned()), "{order:#}");
        let was_confirmed = reasons.contains(&"confirmed".to_owned());
        let again = place(&stack.order, key).await;
        match placed.status.as_u16() {
            201 => {
                assert!(was_confirmed, "{placed:?}: {order:#}");
                assert_eq!(
                    (again.status, again.json()),
                    (placed.status, placed.json()),
                    "a 201 is repeated as it was"
                );
            }
            202 => assert_eq!(
                again.assert_problem(409, "cancelled")["order_id"],
                json!(id)
            ),
            _ => {
                assert_eq!(
                    placed.assert_problem(409, "cancelled")["order_id"],
                    json!(id)
                );
                again.assert_problem(409, "cancelled");
            }
        }
    }
    assert_eq!(stack.stock("PROD-001").await, (10_000, 0));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_fulfilled_at_random_moments_under_kills_end_as_their_clients_were_answered() {
    let mut stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "500")]).await;
    let answers = race_all(&mut stack, "fulfil").await;
    print_figures("fulfil", &answers);
    let mut shipped = 0;
    for Answers { key, placed, acted } in &answers {
        let id = acted.order_id();
        let order = stack.order.order(&id).await;
        assert_eq!(order["status"], "CONFIRMED", "{order:#}");
        assert!([201, 202].contains(&placed.status.as_u16()), "{placed:?}");
        let is_fulfilled = order["fulfilled_at"].is_string();
        match acted.status.as_u16() {
            200 | 202 => assert!(is_fulfilled, "{acted:?}: {order:#}"),
            _ => {
                acted.assert_problem(409, "not-confirmed");
                assert!(!is_fulfilled, "{acted:?}: {order:#}");
            }
        }
        let holdings = ["HELD SUCCESS", "SHIPPED SUCCESS"][usize::from(is_fulfilled)];
        assert_eq!(stack.holdings(&id).await, holdings, "{order:#}");
        let reasons = stack.reasons(&id).await;
        let times = reasons.iter().filter(|reason| *reason == "fulfilled");
        assert_eq!(times.count(), usize::from(is_fulfilled), "{reasons:?}");
        shipped += i64::from(is_fulfilled);
        let again: Value = place(&stack.order, key).await.json();
        if placed.status == 201 {
            assert_eq!(again, placed.json(), "a 201 is repeated as it was");
        } else {
            assert_eq!(again["fulfilled_at"], order["fulfilled_at"]);
        }
    }
    let total = i64::try_from(answers.len()).unwrap();
    let held = total - shipped;
    assert_eq!(stack.stock("PROD-001").await, (10_000 - total, held));
    stack.assert_clean_audit().await;
}
