//! What waits together is done together, and nobody sees a difference.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Service, Stack, free_port};

/// Holds the product's row, so that whatever comes meanwhile gathers behind the first batch.
async fn with_row_locked<T>(stack: &Stack, product_id: &str, work: impl Future<Output = T>) -> T {
    let lock = format!(
        "BEGIN; SELECT FROM inventory WHERE product_id = '{product_id}' FOR UPDATE; SELECT pg_sleep(0.4); COMMIT"
    );
    tokio::join!(stack.database.execute(&lock), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        work.await
    })
    .1
}

async fn transactions(service: &Service, work: &str) -> f64 {
    let metrics = service.get("/metrics").await.text;
    let series = format!("valerix_batch_size_count{{work=\"{work}\"}} ");
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(&series)?.parse().ok())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_product_is_sold_to_the_last_unit_in_few_transactions() {
    let stack = Stack::start().await;
    let body = json!({"product_id": "PROD-002", "quantity": 1});
    let buyers = join_all((0..80).map(|_| stack.inventory.post("/inventory/reserve", &body)));
    let answers = with_row_locked(&stack, "PROD-002", buyers).await;
    let (held, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    let left: BTreeSet<_> = held
        .iter()
        .map(|answer| answer.json()["stock"].as_i64().unwrap())
        .collect();
    assert_eq!(
        left,
        (0..50).collect(),
        "as if one had come after the other"
    );
    assert_eq!((held.len(), refused.len()), (50, 30));
    for answer in refused {
        answer.is_problem(409, "insufficient-stock");
    }
    assert_eq!(stack.stock("PROD-002").await, (0, 50));
    let batches = transactions(&stack.inventory, "reserve").await;
    assert!(
        batches < 20.0,
        "80 reservations went in {batches} transactions"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sold_out_and_unknown_are_answered_without_a_lock_or_a_row() {
    let stack = Stack::start().await;
    let refuse = async |product_id: &str, quantity: i32| {
        let body = json!({"product_id": product_id, "quantity": quantity});
        stack.inventory.post("/inventory/reserve", &body).await
    };
    refuse("PROD-003", 26)
        .await
        .is_problem(409, "insufficient-stock");
    let waited = std::time::Instant::now();
    let answers = with_row_locked(&stack, "PROD-003", async {
        let answers = (refuse("PROD-003", 26).await, refuse("PROD-999", 1).await);
        (answers, waited.elapsed())
    })
    .await;
    let ((sold_out, unknown), took) = answers;
    sold_out.is_problem(409, "insufficient-stock");
    unknown.is_problem(404, "unknown-product");
    assert!(
        took.as_millis() < 350,
        "the row was locked until later: {took:?}"
    );
    assert_eq!(
        stack
            .database
            .count("SELECT count(*) FROM reservations")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_about_one_order_in_one_batch_take_their_turns() {
    let stack = Stack::start().await;
    let order = Uuid::new_v4();
    let reserve = |quantity: i32, epoch: i32| json!({"product_id": "PROD-001", "quantity": quantity, "order_id": order, "epoch": epoch});
    let bodies = [reserve(2, 1), reserve(2, 1), reserve(3, 1), reserve(2, 2)];
    let all = join_all(
        bodies
            .iter()
            .map(|body| stack.inventory.post("/inventory/reserve", body)),
    );
    let answers = with_row_locked(&stack, "PROD-001", all).await;
    let ok = |answer: &Answer| matches!(answer.status.as_u16(), 200 | 409 | 422);
    assert!(answers.iter().all(ok), "{answers:?}");
    let (_, reserved) = stack.stock("PROD-001").await;
    assert!(
        reserved == 2 || reserved == 3,
        "once, whichever goods came first: {reserved}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_batch_is_judged_by_its_own_product() {
    let stack = Stack::start().await;
    // Of each order, three messages that contradict each other.
    let wishes = [("PROD-999", 1), ("PROD-001", 2), ("PROD-003", 26)];
    let orders = std::iter::repeat_with(Uuid::new_v4).take(12);
    let bodies: Vec<_> = orders
        .flat_map(|order| wishes.map(|(product_id, quantity)| json!({"product_id": product_id, "quantity": quantity, "order_id": order})))
        .collect();
    let answers = with_row_locked(&stack, "PROD-002", async {
        let held_up = json!({"product_id": "PROD-002", "quantity": 1});
        let messages = join_all(
            bodies
                .iter()
                .map(|body| stack.inventory.post("/inventory/reserve", body)),
        );
        tokio::join!(
            stack.inventory.post("/inventory/reserve", &held_up),
            messages
        )
        .1
    })
    .await;
    let statuses: Vec<_> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    for of_order in statuses.chunks(wishes.len()) {
        // 422 for who came after the one whose goods are there.
        assert!(
            matches!(of_order, [404 | 422, 200, 409 | 422]),
            "{statuses:?}"
        );
    }
    assert_eq!(stack.stock("PROD-001").await, (76, 24));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_never_wait_for_each_other_in_a_circle() {
    let stack = Stack::start().await;
    let products = "INSERT INTO inventory (product_id, stock) SELECT 'P' || n, 40 FROM generate_series(1, 12) n";
    stack.database.execute(products).await;
    let env = [("DATABASE_URL", stack.database.url())];
    let other = Service::start("inventory", free_port(), &env);
    other.ready().await;
    let replicas = [&stack.inventory, &other];
    let orders: Vec<_> = (0..600_usize).map(|n| (n, Uuid::new_v4())).collect();
    // Each message goes to both, in opposite orders; every third order is given up again.
    let talk = |replica: &'static str, service, orders: Vec<(usize, Uuid)>| {
        join_all(
            orders
                .into_iter()
                .map(move |(n, order)| say(replica, service, n, order)),
        )
    };
    let reversed = orders.iter().rev().copied().collect();
    let (one, two) = tokio::join!(
        talk("one", replicas[0], orders),
        talk("two", replicas[1], reversed)
    );
    for (text, answer) in one.into_iter().chain(two).flatten() {
        assert!(
            matches!(answer.status.as_u16(), 200 | 409),
            "{text}: {answer:?}"
        );
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(stack.database.count(deadlocks).await, 0);
    let broken = "SELECT count(*) FROM inventory i WHERE stock < 0 OR stock + reserved <> stocked OR reserved <>
        (SELECT COALESCE(sum(quantity), 0) FROM reservations r WHERE r.product_id = i.product_id AND state = 'HELD')";
    assert_eq!(stack.database.count(broken).await, 0);
}

async fn say(replica: &str, service: &Service, n: usize, order: Uuid) -> Vec<(String, Answer)> {
    let product = format!("P{}", n * 7 % 12 + 1);
    let reserve = json!({"product_id": product, "quantity": n % 3 + 1, "order_id": order});
    let mut messages: Vec<(&str, Value)> = vec![("reserve", reserve)];
    if n.is_multiple_of(3) {
        messages.push(("release", json!({"order_id": order})));
    }
    let mut answers = Vec::new();
    for (kind, body) in messages {
        let answer = service.post(&format!("/inventory/{kind}"), &body).await;
        answers.push((format!("{replica} {kind} {body}"), answer));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_more_than_there_is_stands_in_nobodys_way() {
    let stack = Stack::start().await;
    let wishes = (0..30).map(|n| if n % 3 == 0 { 51 } else { 1 });
    let bodies: Vec<_> = wishes
        .map(|quantity| json!({"product_id": "PROD-002", "quantity": quantity}))
        .collect();
    let buyers = join_all(
        bodies
            .iter()
            .map(|body| stack.inventory.post("/inventory/reserve", body)),
    );
    let answers = with_row_locked(&stack, "PROD-002", buyers).await;
    for (body, answer) in bodies.iter().zip(answers) {
        assert_eq!(
            answer.status,
            if body["quantity"] == 1 { 200 } else { 409 },
            "{body}: {answer:?}"
        );
    }
    assert_eq!(stack.stock("PROD-002").await, (30, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_keys_in_opposite_orders_never_wait_for_each_other_in_a_circle() {
    let stack = Stack::start().await;
    let other = stack.another_order_service().await;
    let slowly = "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;
        CREATE TRIGGER slowly BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slowly()";
    stack.database.execute(slowly).await;
    let place = async |service: &Service, key: &str| {
        let body = r#"{"product_id":"PROD-001","quantity":1000}"#;
        service
            .request(
                Method::POST,
                "/orders",
                &[("idempotency-key", key)],
                Some(body),
            )
            .await
    };
    let keys: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let one = join_all(keys.iter().map(|key| place(&stack.order, key)));
    let two = join_all(keys.iter().rev().map(|key| place(&other, key)));
    let (one, two) = stack.together(async { tokio::join!(one, two) }).await;
    for answer in one.into_iter().chain(two) {
        assert_eq!(answer.status, 409, "out of stock, or in flight: {answer:?}");
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(stack.database.count(deadlocks).await, 0);
    assert_eq!(
        stack.database.count("SELECT count(*) FROM orders").await,
        100
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_order_does_not_fail_those_it_waits_with() {
    let stack = Stack::start().await;
    // A constraint that only some orders meet.
    stack
        .database
        .execute("ALTER TABLE orders ADD CONSTRAINT no_sevens CHECK (quantity <> 7)")
        .await;
    let buyers = (1..=40).map(|n| stack.place("PROD-001", n % 8 + 1));
    for (n, answer) in (1..=40).zip(join_all(buyers).await) {
        let refused = n % 8 + 1 == 7;
        assert_eq!(answer.status == 500, refused, "{n}: {answer:?}");
    }
    stack.settled().await;
    stack.balances().await;
}
