//! `GET /orders/stream`: each change is sent once and in order, to open and to resumed streams.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::events::{Change, Listener, sorted};
use crate::harness::{LONG_STEPS, Stack, eventually};

/// The key of the newest event, with which the id of its frame begins.
async fn newest_key(stack: &Stack) -> String {
    let statement = "SELECT xid || '-' || id FROM order_events ORDER BY xid DESC, id DESC LIMIT 1";
    stack.database.query(statement).await[0].get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_sends_new_changes_in_order() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let replica = stack.start_order_replica().await;
    stack.place("PROD-003", 1).await;
    let mut listener = Listener::open(&replica, None).await;
    assert!(
        listener.id.starts_with(&newest_key(&stack).await),
        "{}: the stream begins with new changes",
        listener.id
    );
    let order = stack.place("PROD-001", 2).await.json();
    let received = listener.change().await;
    assert_eq!(
        (&received["id"], &received["status"], &received["reason"]),
        (&order["id"], &json!("PENDING"), &json!("placed"))
    );
    let received = listener.change().await;
    assert_eq!(
        (&received["id"], &received["status"], &received["attempt"]),
        (&order["id"], &json!("CONFIRMED"), &json!(1))
    );
    assert_eq!(
        (&received["product_id"], &received["quantity"]),
        (&order["product_id"], &order["quantity"])
    );
    assert_eq!(received["trace_id"], order["trace_id"]);
    assert!(
        listener.id.starts_with(&newest_key(&stack).await),
        "{}",
        listener.id
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_stream_neither_misses_nor_repeats_a_change() {
    const LAST: &str = "PROD-404";
    let stack = Stack::start().await;
    let replica = stack.start_order_replica().await;
    let mut listener = Listener::open(&stack.order, None).await;
    let place_orders = async {
        let body = json!({"product_id": "PROD-001", "quantity": 1});
        let customers = (0..40)
            .map(|n| if n % 2 == 0 { &stack.order } else { &replica }.post("/orders", &body));
        futures_util::future::join_all(customers).await;
        stack.wait_until_settled().await;
        stack.place(LAST, 1).await;
    };
    // Resumes the stream after every few changes, on the two replicas in turn.
    let follow = async {
        let (mut received, mut ids) = (Vec::new(), Vec::new());
        for (service, count) in [&replica, &stack.order]
            .into_iter()
            .cycle()
            .zip((1..14).cycle())
        {
            for _ in 0..count {
                let change = listener.change().await;
                received.push(Change::of(&change));
                ids.push(listener.id.clone());
                if (&change["product_id"], &change["status"]) == (&json!(LAST), &json!("FAILED")) {
                    return (received, ids);
                }
            }
            listener = Listener::open(service, Some(&listener.id)).await;
        }
        (received, ids)
    };
    let ((), (received, ids)) = tokio::join!(place_orders, follow);
    // Recovery may still settle what the last order owes.
    let mut stored = Change::stored(&stack.database).await;
    stored.retain(|change| {
        change.order_id != received.last().unwrap().order_id || received.contains(change)
    });
    assert_eq!(sorted(received.clone()), sorted(stored.clone()));
    // The changes of each order are sent in the order in which they were made.
    let mut of_orders: HashMap<&str, [Vec<&Change>; 2]> = HashMap::new();
    for (side, changes) in [&received, &stored].into_iter().enumerate() {
        for change in changes {
            of_orders.entry(&change.order_id).or_default()[side].push(change);
        }
    }
    assert_eq!(of_orders.len(), 41);
    assert!(
        of_orders
            .values()
            .all(|[received, stored]| received == stored),
        "{of_orders:#?}"
    );

    // The position can also be in the URL. The header takes precedence.
    let path = format!("/orders/stream?last_event_id={}", ids[5]);
    let mut by_url = Listener::at(&stack.order, &path, None).await;
    let rest = received[6..].to_vec();
    assert_eq!(sorted(by_url.changes(rest.len()).await), sorted(rest));
    let mut by_header = Listener::at(&stack.order, &path, Some(&ids[9])).await;
    let rest = received[10..].to_vec();
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
async fn each_client_that_resumes_after_a_restart_gets_the_changes_that_it_missed() {
    let mut stack = Stack::with(&[LONG_STEPS]).await;
    let older = Listener::open(&stack.order, None).await.id;
    stack.place("PROD-001", 1).await;
    stack.place("PROD-002", 1).await;
    let newer = Listener::open(&stack.order, None).await.id;
    stack.place("PROD-003", 1).await;
    stack.restart_order(&[]).await;
    let missed = Change::stored(&stack.database).await;
    // The client that missed fewer changes resumes first.
    let mut newer = Listener::open(&stack.order, Some(&newer)).await;
    assert_eq!(newer.changes(2).await, missed[4..]);
    let mut older = Listener::open(&stack.order, Some(&older)).await;
    assert_eq!(older.changes(6).await, missed);
    stack.place("PROD-001", 1).await;
    let next = Change::stored(&stack.database).await;
    for listener in [&mut newer, &mut older] {
        assert_eq!(listener.changes(2).await, next[6..], "then new changes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_is_sent_to_open_and_to_resumed_streams() {
    // Longer than any transaction of a service.
    const TRANSACTION_TIME: Duration = Duration::from_secs(5);
    const LATE: &str = "BEGIN;
        INSERT INTO order_events (order_id, status, reason, epoch)
            SELECT id, status, 'late', 1 FROM orders LIMIT 1";
    let stack = Stack::with(&[LONG_STEPS]).await;
    let replica = stack.start_order_replica().await;
    stack.place("PROD-001", 1).await;
    let mut live = Listener::open(&stack.order, None).await;
    let before = live.id.clone();
    let session = stack.database.session().await;
    session.batch_execute(LATE).await.unwrap();
    let mut received = Vec::new();
    // Positions to resume at, each with the number of changes received up to it.
    let mut resumed = vec![(before, 0)];
    let started = Instant::now();
    while started.elapsed() < TRANSACTION_TIME {
        stack.place("PROD-001", 1).await;
        // Other changes are sent while the transaction is open.
        for _ in 0..2 {
            received.extend(live.changes(1).await);
            resumed.push((live.id.clone(), received.len()));
        }
        assert!(received.iter().all(|change| change.reason != "late"));
    }
    let mut before_commit = Listener::open(&replica, Some(&live.id)).await;
    session.batch_execute("COMMIT").await.unwrap();
    for listener in [&mut live, &mut before_commit] {
        assert_eq!(listener.changes(1).await[0].reason, "late");
    }
    let all = Change::stored(&stack.database).await;
    let late = all.iter().find(|change| change.reason == "late").unwrap();
    resumed.push((live.id.clone(), received.len() + 1));
    resumed.push((before_commit.id.clone(), received.len() + 1));
    received.push(late.clone());
    assert_eq!(sorted(received.clone()), sorted(all[2..].to_vec()));
    // One more change, after which the test knows that nothing was sent twice before it.
    stack.place("PROD-404", 1).await;
    for (id, count) in resumed {
        let mut listener = Listener::open(&replica, Some(&id)).await;
        let missed = received[count..].to_vec();
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
async fn a_position_can_be_resumed_on_a_replica_that_has_read_fewer_changes() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let replica = stack.start_order_replica().await;
    // The replicas poll at different times, so the position is often ahead of the other replica.
    let mut here = Listener::open(&stack.order, None).await;
    let _keeps_reading = Listener::open(&replica, None).await;
    for _ in 0..10 {
        stack.place("PROD-001", 1).await;
        let received = here.changes(2).await;
        let mut there = Listener::open(&replica, Some(&here.id)).await;
        stack.place("PROD-001", 1).await;
        let next = there.changes(2).await;
        assert_eq!(next, here.changes(2).await, "after {received:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_continues_after_a_database_outage() {
    let stack = Stack::start().await;
    let mut listener = Listener::open(&stack.order, None).await;
    stack.place("PROD-001", 1).await;
    let received = listener.changes(2).await;
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
    assert_eq!([received, listener.changes(2).await].concat(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_foreign_or_too_old_position_gets_a_reset() {
    const MAX_REPLAYED: usize = 10_000;
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    for foreign in ["999999999999-1", "7", "-7", "1-2-3", "nonsense"] {
        let mut listener = Listener::open(&stack.order, Some(foreign)).await;
        listener.assert_reset().await;
        stack.place("PROD-001", 1).await;
        assert_eq!(
            listener.change().await["reason"],
            "placed",
            "the stream continues after {foreign}"
        );
    }
    let too_early = Listener::open(&stack.order, None).await.id;
    let one = "INSERT INTO order_events (order_id, status, reason, epoch)
        SELECT id, status, 'one', 1 FROM orders LIMIT 1";
    stack.database.execute(one).await;
    let mut live = Listener::open(&stack.order, None).await;
    let just_in_time = live.id.clone();
    let bulk = format!(
        "INSERT INTO order_events (order_id, status, reason, epoch)
        SELECT (SELECT id FROM orders LIMIT 1), 'CONFIRMED', 'bulk-' || n, 1
        FROM generate_series(1, {MAX_REPLAYED}) n"
    );
    stack.database.execute(&bulk).await;
    Listener::open(&stack.order, Some(&too_early))
        .await
        .assert_reset()
        .await;
    let mut just_in_time = Listener::open(&stack.order, Some(&just_in_time)).await;
    // These are more changes at once than a process buffers for its open streams.
    for listener in [&mut live, &mut just_in_time] {
        let received = listener.changes(MAX_REPLAYED).await;
        assert!(
            received
                .iter()
                .enumerate()
                .all(|(n, change)| change.reason == format!("bulk-{}", n + 1))
        );
    }
    stack.place("PROD-001", 1).await;
    for listener in [&mut live, &mut just_in_time] {
        assert_eq!(listener.change().await["reason"], "placed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_newer_version_or_another_server_do_not_interrupt_the_stream() {
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    let mut listener = Listener::open(&stack.order, None).await;
    // A dump of another server can contain a transaction id that this server has not reached yet.
    let rows = "INSERT INTO order_events (xid, order_id, status, reason, epoch)
            SELECT '9000000000', id, status, 'foreign', 1 FROM orders;
        INSERT INTO order_events (order_id, status, reason, epoch)
            SELECT id, 'ON_HOLD', 'fraud-suspected', 1 FROM orders";
    stack.database.execute(rows).await;
    let newer = listener.change().await;
    assert_eq!(
        (&newer["status"], &newer["reason"]),
        (&json!("ON_HOLD"), &json!("fraud-suspected"))
    );
    let replica = stack.start_order_replica().await;
    let mut other = Listener::open(&replica, None).await;
    stack.place("PROD-001", 1).await;
    for listener in [&mut listener, &mut other] {
        assert_eq!(listener.change().await["reason"], "placed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_closes_open_streams_and_exits_with_0() {
    let mut stack = Stack::start().await;
    let mut listener = Listener::open(&stack.order, None).await;
    let started = Instant::now();
    stack.order.process.signal(Signal::SIGTERM);
    assert!(listener.frame().await.is_none(), "the stream has ended");
    let status = stack.order.process.wait().await.unwrap();
    assert_eq!(status.code(), Some(0), "{:#?}", stack.order.lines());
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_polled_only_while_a_stream_is_open() {
    const IDLE_SECONDS: f64 = 2.0;
    // When a service last read the changes: PostgreSQL shows the last statement of each session.
    const LAST_READ: &str = "SELECT EXTRACT(EPOCH FROM max(query_start))::float8,
            EXTRACT(EPOCH FROM clock_timestamp())::float8
        FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%snapshot%' AND pid <> pg_backend_pid()";
    let stack = Stack::start().await;
    // One session, which the statement excludes. A session of each statement would be listed for a
    // moment after its end, with this statement as its last one.
    let session = stack.database.session().await;
    let last_read = async || {
        let row = session.query_one(LAST_READ, &[]).await.unwrap();
        (row.get::<_, Option<f64>>(0), row.get::<_, f64>(1))
    };
    let (last, started) = last_read().await;
    assert_eq!(last, None, "no stream has been open yet");
    let listener = Listener::open(&stack.order, None).await;
    eventually("the changes to be polled", async || {
        let (last, now) = last_read().await;
        (last? > started + 1.0 && now - last? < IDLE_SECONDS / 4.0).then_some(())
    })
    .await;
    drop(listener);
    let newest = std::cell::Cell::new(last_read().await.1);
    eventually("the polling to stop", async || {
        let (last, now) = last_read().await;
        newest.set(newest.get().max(last.unwrap_or_default()));
        (now - newest.get() > IDLE_SECONDS).then_some(())
    })
    .await;
}
