//! `GET /orders/stream`: what happens is told once, in order, to who listens and to who comes back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::events::{Change, Listener, sorted};
use crate::harness::{Stack, eventually};

/// The newest event's key, as the id of an event begins.
async fn newest_key(stack: &Stack) -> String {
    let statement = "SELECT xid || '-' || id FROM order_events ORDER BY xid DESC, id DESC LIMIT 1";
    stack.database.query(statement).await[0].get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_happen_by_every_replica() {
    let stack = Stack::start().await;
    let elsewhere = stack.start_order_replica().await;
    stack.place("PROD-003", 1).await;
    let mut listener = Listener::open(&elsewhere, None).await;
    assert!(
        listener.id.starts_with(&newest_key(&stack).await),
        "{}: only what is new is told",
        listener.id
    );
    let order = stack.place("PROD-001", 2).await.json();
    let told = listener.change().await;
    assert_eq!(
        (&told["id"], &told["status"], &told["reason"]),
        (&order["id"], &json!("PENDING"), &json!("placed"))
    );
    let told = listener.change().await;
    assert_eq!(
        (&told["id"], &told["status"], &told["attempt"]),
        (&order["id"], &json!("CONFIRMED"), &json!(1))
    );
    assert_eq!(
        (&told["product_id"], &told["quantity"]),
        (&order["product_id"], &order["quantity"])
    );
    assert_eq!(told["trace_id"], order["trace_id"]);
    assert!(
        listener.id.starts_with(&newest_key(&stack).await),
        "{}",
        listener.id
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_misses_nothing_and_hears_nothing_twice() {
    const LAST: &str = "PROD-404";
    let stack = Stack::start().await;
    let elsewhere = stack.start_order_replica().await;
    let mut listener = Listener::open(&stack.order, None).await;
    let shop = async {
        let body = json!({"product_id": "PROD-001", "quantity": 1});
        let customers = (0..40)
            .map(|n| if n % 2 == 0 { &stack.order } else { &elsewhere }.post("/orders", &body));
        futures_util::future::join_all(customers).await;
        stack.wait_until_settled().await;
        stack.place(LAST, 1).await;
    };
    // Comes back every few changes, now here, now there, in the middle of everything.
    let follow = async {
        let (mut told, mut ids) = (Vec::new(), Vec::new());
        for (service, count) in [&elsewhere, &stack.order]
            .into_iter()
            .cycle()
            .zip((1..14).cycle())
        {
            for _ in 0..count {
                let change = listener.change().await;
                told.push(Change::of(&change));
                ids.push(listener.id.clone());
                if (&change["product_id"], &change["status"]) == (&json!(LAST), &json!("FAILED")) {
                    return (told, ids);
                }
            }
            listener = Listener::open(service, Some(&listener.id)).await;
        }
        (told, ids)
    };
    let ((), (told, ids)) = tokio::join!(shop, follow);
    // Recovery may go on to settle what the last one owes.
    let mut happened = Change::stored(&stack.database).await;
    happened
        .retain(|change| change.order_id != told.last().unwrap().order_id || told.contains(change));
    assert_eq!(sorted(told.clone()), sorted(happened.clone()));
    // What happened to one order is told in the order in which it happened.
    let mut of_orders: HashMap<&str, [Vec<&Change>; 2]> = HashMap::new();
    for (side, changes) in [&told, &happened].into_iter().enumerate() {
        for change in changes {
            of_orders.entry(&change.order_id).or_default()[side].push(change);
        }
    }
    assert_eq!(of_orders.len(), 41);
    assert!(
        of_orders.values().all(|[told, happened]| told == happened),
        "{of_orders:#?}"
    );

    // An address can say where to go on; the header knows better.
    let path = format!("/orders/stream?last_event_id={}", ids[5]);
    let mut by_address = Listener::at(&stack.order, &path, None).await;
    let rest = told[6..].to_vec();
    assert_eq!(sorted(by_address.changes(rest.len()).await), sorted(rest));
    let mut by_header = Listener::at(&stack.order, &path, Some(&ids[9])).await;
    let rest = told[10..].to_vec();
    assert_eq!(sorted(by_header.changes(rest.len()).await), sorted(rest));
    for wrong in ["x", "7", "-7", "1-2-3"] {
        let path = format!("/orders/stream?last_event_id={wrong}");
        stack
            .order
            .get(&path)
            .await
            .assert_problem(400, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listener_that_resumes_after_a_restart_gets_what_it_missed() {
    let mut stack = Stack::start().await;
    let older = Listener::open(&stack.order, None).await.id;
    stack.place("PROD-001", 1).await;
    stack.place("PROD-002", 1).await;
    let newer = Listener::open(&stack.order, None).await.id;
    stack.place("PROD-003", 1).await;
    stack.restart_order(&[]).await;
    let missed = Change::stored(&stack.database).await;
    // The reader begins with the listener that missed less.
    let mut newer = Listener::open(&stack.order, Some(&newer)).await;
    assert_eq!(newer.changes(2).await, missed[4..]);
    let mut older = Listener::open(&stack.order, Some(&older)).await;
    assert_eq!(older.changes(6).await, missed);
    stack.place("PROD-001", 1).await;
    let next = Change::stored(&stack.database).await;
    for listener in [&mut newer, &mut older] {
        assert_eq!(listener.changes(2).await, next[6..], "and then what is new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_reaches_those_who_listen_and_those_who_resume() {
    // Longer than any transaction of a service lives.
    const OPEN: Duration = Duration::from_secs(5);
    const LATE: &str = "BEGIN;
        INSERT INTO order_events (order_id, status, reason, attempt) SELECT id, status, 'late', 1 FROM orders LIMIT 1";
    let stack = Stack::start().await;
    let elsewhere = stack.start_order_replica().await;
    stack.place("PROD-001", 1).await;
    let mut live = Listener::open(&stack.order, None).await;
    let before = live.id.clone();
    let session = stack.database.session().await;
    session.batch_execute(LATE).await.unwrap();
    let mut told = Vec::new();
    // Where a listener can resume, and how much it has been told there.
    let mut resumed = vec![(before, 0)];
    let started = Instant::now();
    while started.elapsed() < OPEN {
        stack.place("PROD-001", 1).await;
        // Others are told of while the transaction is open.
        for _ in 0..2 {
            told.extend(live.changes(1).await);
            resumed.push((live.id.clone(), told.len()));
        }
        assert!(told.iter().all(|change| change.reason != "late"));
    }
    let mut before_commit = Listener::open(&elsewhere, Some(&live.id)).await;
    session.batch_execute("COMMIT").await.unwrap();
    for listener in [&mut live, &mut before_commit] {
        assert_eq!(listener.changes(1).await[0].reason, "late");
    }
    let all = Change::stored(&stack.database).await;
    let late = all.iter().find(|change| change.reason == "late").unwrap();
    resumed.push((live.id.clone(), told.len() + 1));
    resumed.push((before_commit.id.clone(), told.len() + 1));
    told.push(late.clone());
    assert_eq!(sorted(told.clone()), sorted(all[2..].to_vec()));
    // A change after all others, to see that nothing was told twice before it.
    stack.place("PROD-404", 1).await;
    for (id, count) in resumed {
        let mut listener = Listener::open(&elsewhere, Some(&id)).await;
        let missed = told[count..].to_vec();
        assert_eq!(
            sorted(listener.changes(missed.len()).await),
            sorted(missed),
            "resumed at {id}"
        );
        assert_eq!(
            listener.change().await["product_id"],
            "PROD-404",
            "resumed at {id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_can_be_resumed_at_a_replica_that_has_read_less_so_far() {
    let stack = Stack::start().await;
    let elsewhere = stack.start_order_replica().await;
    // Each replica polls at times of its own: the position is often ahead of the other one.
    let mut here = Listener::open(&stack.order, None).await;
    let _keeps_reading = Listener::open(&elsewhere, None).await;
    for _ in 0..10 {
        stack.place("PROD-001", 1).await;
        let told = here.changes(2).await;
        let mut there = Listener::open(&elsewhere, Some(&here.id)).await;
        stack.place("PROD-001", 1).await;
        let next = there.changes(2).await;
        assert_eq!(next, here.changes(2).await, "after {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_an_outage_of_the_database() {
    let stack = Stack::start().await;
    let mut listener = Listener::open(&stack.order, None).await;
    stack.place("PROD-001", 1).await;
    let told = listener.changes(2).await;
    stack.database.refuse_connections().await;
    stack
        .order
        .get("/orders/stream")
        .await
        .assert_problem(503, "database-unavailable");
    stack.database.accept_connections().await;
    stack.order.wait_until_ready().await;
    stack.place("PROD-001", 1).await;
    let all = Change::stored(&stack.database).await;
    assert_eq!([told, listener.changes(2).await].concat(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_too_much_or_came_from_elsewhere_is_told_to_look_anew() {
    const MOST_REPLAYED: usize = 10_000;
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    for foreign in ["999999999999-1", "7", "-7", "1-2-3", "nonsense"] {
        let mut listener = Listener::open(&stack.order, Some(foreign)).await;
        listener.assert_reset().await;
        stack.place("PROD-001", 1).await;
        assert_eq!(
            listener.change().await["reason"],
            "placed",
            "and it goes on after {foreign}"
        );
    }
    let too_early = Listener::open(&stack.order, None).await.id;
    let one = "INSERT INTO order_events (order_id, status, reason, attempt)
        SELECT id, status, 'one', 1 FROM orders LIMIT 1";
    stack.database.execute(one).await;
    let mut live = Listener::open(&stack.order, None).await;
    let just_in_time = live.id.clone();
    let flood = format!(
        "INSERT INTO order_events (order_id, status, reason, attempt)
        SELECT (SELECT id FROM orders LIMIT 1), 'CONFIRMED', 'flood-' || n, 1 FROM generate_series(1, {MOST_REPLAYED}) n"
    );
    stack.database.execute(&flood).await;
    Listener::open(&stack.order, Some(&too_early))
        .await
        .assert_reset()
        .await;
    let mut just_in_time = Listener::open(&stack.order, Some(&just_in_time)).await;
    // It came all at once, more than a process keeps for those who listen.
    for listener in [&mut live, &mut just_in_time] {
        let told = listener.changes(MOST_REPLAYED).await;
        assert!(
            told.iter()
                .enumerate()
                .all(|(n, change)| change.reason == format!("flood-{}", n + 1))
        );
    }
    stack.place("PROD-001", 1).await;
    for listener in [&mut live, &mut just_in_time] {
        assert_eq!(listener.change().await["reason"], "placed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_newer_release_or_another_server_do_not_break_the_stream() {
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    let mut listener = Listener::open(&stack.order, None).await;
    // As a dump of another server brings it: a transaction that this one has not come to yet.
    let rows = "INSERT INTO order_events (xid, order_id, status, reason, attempt)
            SELECT '9000000000', id, status, 'foreign', 1 FROM orders;
        INSERT INTO order_events (order_id, status, reason, attempt) SELECT id, 'ON_HOLD', 'fraud-suspected', 1 FROM orders";
    stack.database.execute(rows).await;
    let newer = listener.change().await;
    assert_eq!(
        (&newer["status"], &newer["reason"]),
        (&json!("ON_HOLD"), &json!("fraud-suspected"))
    );
    let elsewhere = stack.start_order_replica().await;
    let mut other = Listener::open(&elsewhere, None).await;
    stack.place("PROD-001", 1).await;
    for listener in [&mut listener, &mut other] {
        assert_eq!(listener.change().await["reason"], "placed");
    }
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
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_listens_nothing_is_read() {
    const SILENCE_SECONDS: f64 = 2.0;
    // When a service last read the changes; the server remembers each connection's last statement.
    const LAST_READ: &str = "SELECT EXTRACT(EPOCH FROM max(query_start))::float8, EXTRACT(EPOCH FROM clock_timestamp())::float8
        FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%snapshot%' AND pid <> pg_backend_pid()";
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
