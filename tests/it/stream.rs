//! `GET /orders/stream`: what happens is told once, in order, to who listens and to who comes back.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::events::Listener;
use crate::harness::{Stack, eventually};

async fn ids(stack: &Stack) -> Vec<i64> {
    let rows = stack.database.query("SELECT id FROM order_events ORDER BY id").await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_happen_by_every_replica() {
    let stack = Stack::start().await;
    let elsewhere = stack.another_order_service().await;
    stack.place("PROD-003", 1).await;
    let mut listener = Listener::open(&elsewhere, None).await;
    assert_eq!(listener.id, *ids(&stack).await.last().unwrap(), "who comes anew is told what is new");
    let order = stack.place("PROD-001", 2).await.json();
    let (placed, told) = listener.change().await;
    assert_eq!(
        (&told["id"], &told["status"], &told["reason"]),
        (&order["id"], &json!("PENDING"), &json!("placed"))
    );
    let (confirmed, told) = listener.change().await;
    assert_eq!(
        (&told["id"], &told["status"], &told["attempt"]),
        (&order["id"], &json!("CONFIRMED"), &json!(1))
    );
    assert_eq!((&told["product_id"], &told["quantity"]), (&order["product_id"], &order["quantity"]));
    assert_eq!(told["trace_id"], order["trace_id"]);
    assert_eq!([placed, confirmed], ids(&stack).await[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_misses_nothing_and_hears_nothing_twice() {
    const LAST: &str = "PROD-404";
    let stack = Stack::start().await;
    let elsewhere = stack.another_order_service().await;
    let mut listener = Listener::open(&stack.order, None).await;
    let shop = async {
        let body = json!({"product_id": "PROD-001", "quantity": 1});
        let customers =
            (0..40).map(|n| if n % 2 == 0 { &stack.order } else { &elsewhere }.post("/orders", &body));
        futures_util::future::join_all(customers).await;
        stack.settled().await;
        stack.place(LAST, 1).await;
    };
    // Comes back every few changes, now here, now there, in the middle of everything.
    let follow = async {
        let mut told = Vec::new();
        for (service, count) in [&elsewhere, &stack.order].into_iter().cycle().zip((1..14).cycle()) {
            for _ in 0..count {
                let (id, change) = listener.change().await;
                told.push(id);
                if (&change["product_id"], &change["status"]) == (&json!(LAST), &json!("FAILED")) {
                    return told;
                }
            }
            listener = Listener::open(service, Some(&listener.id.to_string())).await;
        }
        told
    };
    let ((), told) = tokio::join!(shop, follow);
    // Recovery may go on to settle what the last one owes.
    let happened = ids(&stack).await;
    assert_eq!(told, happened[..told.len()]);

    // An address can say where to go on; the header knows better.
    let path = format!("/orders/stream?last_event_id={}", happened[5]);
    let mut by_address = Listener::at(&stack.order, &path, None).await;
    assert_eq!(by_address.change().await.0, happened[6]);
    let mut by_header = Listener::at(&stack.order, &path, Some(&happened[9].to_string())).await;
    assert_eq!(by_header.change().await.0, happened[10]);
    stack.order.get("/orders/stream?last_event_id=x").await.is_problem(400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_too_much_or_came_from_elsewhere_is_told_to_look_anew() {
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    for foreign in ["99999", "-7", "nonsense"] {
        let mut listener = Listener::open(&stack.order, Some(foreign)).await;
        listener.is_reset().await;
        stack.place("PROD-001", 1).await;
        assert_eq!(listener.change().await.1["reason"], "placed", "and it goes on after {foreign}");
    }
    let flood = "INSERT INTO order_events (order_id, status, reason, attempt)
        SELECT (SELECT id FROM orders LIMIT 1), 'CONFIRMED', 'flood', 1 FROM generate_series(1, 1500)";
    stack.database.execute(flood).await;
    let newest = *ids(&stack).await.last().unwrap();
    let mut late = Listener::open(&stack.order, Some("1")).await;
    late.is_reset().await;
    let mut just_in_time = Listener::open(&stack.order, Some(&(newest - 900).to_string())).await;
    let wanted: Vec<i64> = (newest - 899..=newest).collect();
    assert_eq!(just_in_time.changes(900).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_open_streams_in_good_order() {
    let mut stack = Stack::start().await;
    let mut listener = Listener::open(&stack.order, None).await;
    let started = Instant::now();
    stack.order.process.signal(Signal::SIGTERM);
    assert!(listener.frame().await.is_none(), "the stream ends");
    let status = stack.order.process.ended().await.unwrap();
    assert_eq!(status.code(), Some(0), "{:#?}", stack.order.lines());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_listens_nothing_is_read() {
    const SILENCE_SECONDS: f64 = 2.0;
    // When a service last read the changes; the server remembers each connection's last statement.
    const LAST_READ: &str = "SELECT EXTRACT(EPOCH FROM max(query_start))::float8, EXTRACT(EPOCH FROM clock_timestamp())::float8
        FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%order_events%' AND pid <> pg_backend_pid()";
    let stack = Stack::start().await;
    let look = async || {
        let row = &stack.database.query(LAST_READ).await[0];
        (row.get::<_, Option<f64>>(0), row.get::<_, f64>(1))
    };
    let (last, started) = look().await;
    assert_eq!(last, None, "nobody has listened yet");
    let listener = Listener::open(&stack.order, None).await;
    eventually("the changes to be read, again and again", async || {
        let (last, now) = look().await;
        (last? > started + 1.0 && now - last? < SILENCE_SECONDS / 4.0).then_some(())
    })
    .await;
    drop(listener);
    let newest = std::cell::Cell::new(look().await.1);
    eventually("silence", async || {
        let (last, now) = look().await;
        newest.set(newest.get().max(last.unwrap_or_default()));
        (now - newest.get() > SILENCE_SECONDS).then_some(())
    })
    .await;
}
