//! Batching of database writes: items that wait together share a transaction, and no client notices
//! it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::{LONG_STEPS, Response, Service, Stack, eventually, free_port};

/// Opens a session that has locked the product's row.
async fn lock_row(stack: &Stack, product_id: &str) -> Client {
    let session = stack.database.session().await;
    let lock = format!("BEGIN; SELECT FROM inventory WHERE product_id = '{product_id}' FOR UPDATE");
    session.batch_execute(&lock).await.unwrap();
    session
}

/// Sends reserves while the product's row is locked. Once `waiting` of them wait for the lock, it is
/// released, and they are executed together.
async fn behind_a_lock<T>(
    stack: &Stack,
    product_id: &str,
    waiting: u32,
    reserves: impl Future<Output = T>,
) -> T {
    let session = lock_row(stack, product_id).await;
    let unlock = async {
        // Also of a later step of a reserve.
        let parked = r#"valerix_batch_locked_items_total{work="reserve"#;
        eventually("the reserves to wait for the lock", async || {
            (stack.inventory.metric(parked).await >= f64::from(waiting)).then_some(())
        })
        .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(reserves, unlock).0
}

/// Sends a message until its answer is final. A loaded machine may not end its transaction in time,
/// or may wait too long for another one, and then the sender repeats it.
async fn final_answer(send: impl AsyncFn() -> Response) -> Response {
    eventually("a final answer", async || {
        let response = send().await;
        (response.status != 503).then_some(response)
    })
    .await
}

/// Makes the server look for a deadlock before a statement ends its wait for a lock, after 100 ms.
/// It holds for the sessions of services that start afterwards.
const FIND_DEADLOCKS: &str = "DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 10', current_database());
    END $$";

/// Starts the order and the inventory service again, with sessions that find deadlocks.
async fn find_deadlocks(stack: &mut Stack) {
    stack.database.execute(FIND_DEADLOCKS).await;
    stack.restart_order(&[]).await;
    stack.restart_inventory(&[]).await;
}

/// Ends all services, and returns how many deadlocks they met. A session may report them only when
/// it ends.
async fn deadlocks(stack: &mut Stack, mut other: Service) -> i64 {
    for service in [
        &mut stack.order,
        &mut stack.inventory,
        &mut stack.payment,
        &mut other,
    ] {
        service.process.kill().await.unwrap();
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
            AND pid <> pg_backend_pid()";
    eventually("the sessions to end", async || {
        (stack.database.count(sessions).await == 0).then_some(())
    })
    .await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    stack.database.count(deadlocks).await
}

/// The number of transactions for one kind of work.
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
    let requests = join_all((0..80).map(|_| stack.inventory.post("/inventory/reserve", &body)));
    // The others arrive while the first half is executed.
    let responses = behind_a_lock(&stack, "PROD-002", 40, requests).await;
    let (reserved, rejected): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.status == 200);
    let left: BTreeSet<_> = reserved
        .iter()
        .map(|response| response.json()["stock"].as_i64().unwrap())
        .collect();
    assert_eq!(
        left,
        (0..50).collect(),
        "the same stock levels as in separate transactions"
    );
    assert_eq!((reserved.len(), rejected.len()), (50, 30));
    for response in rejected {
        response.assert_problem(409, "insufficient-stock");
    }
    assert_eq!(stack.stock("PROD-002").await, (0, 50));
    let batches = transactions(&stack.inventory, "reserve").await;
    assert!(
        batches < 20.0,
        "80 reservations took {batches} transactions"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sold_out_and_unknown_products_need_no_lock_and_store_no_row() {
    let stack = Stack::start().await;
    let reserve = async |product_id: &str, quantity: i32| {
        let body = json!({"product_id": product_id, "quantity": quantity});
        stack.inventory.post("/inventory/reserve", &body).await
    };
    reserve("PROD-003", 26)
        .await
        .assert_problem(409, "insufficient-stock");
    // A request that needs the lock would be answered with `locked`.
    let session = lock_row(&stack, "PROD-003").await;
    reserve("PROD-003", 26)
        .await
        .assert_problem(409, "insufficient-stock");
    reserve("PROD-999", 1)
        .await
        .assert_problem(404, "unknown-product");
    session.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        stack
            .database
            .count("SELECT count(*) FROM reservations")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicting_messages_of_one_order_in_one_batch_reserve_once() {
    let stack = Stack::start().await;
    let order = Uuid::new_v4();
    let reserve = |quantity: i32, epoch: i32| {
        json!({
            "product_id": "PROD-001", "quantity": quantity, "order_id": order, "epoch": epoch
        })
    };
    let bodies = [reserve(2, 1), reserve(2, 1), reserve(3, 1), reserve(2, 2)];
    let all = join_all(
        bodies
            .iter()
            .map(|body| stack.inventory.post("/inventory/reserve", body)),
    );
    let responses = behind_a_lock(&stack, "PROD-001", 4, all).await;
    let ok = |response: &Response| matches!(response.status.as_u16(), 200 | 409 | 422);
    assert!(responses.iter().all(ok), "{responses:?}");
    let (_, reserved) = stack.stock("PROD-001").await;
    assert!(
        reserved == 2 || reserved == 3,
        "one reservation, of the quantity that came first: {reserved}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_batch_is_answered_for_its_own_product() {
    let stack = Stack::start().await;
    // For each order, three messages that contradict each other.
    let goods = [("PROD-999", 1), ("PROD-001", 2), ("PROD-003", 26)];
    let orders = std::iter::repeat_with(Uuid::new_v4).take(12);
    let bodies: Vec<_> = orders
        .flat_map(|order| {
            goods.map(|(product_id, quantity)| {
                json!({"product_id": product_id, "quantity": quantity, "order_id": order})
            })
        })
        .collect();
    let responses = behind_a_lock(&stack, "PROD-002", 1, async {
        let delayed = json!({"product_id": "PROD-002", "quantity": 1});
        let messages = join_all(
            bodies
                .iter()
                .map(|body| stack.inventory.post("/inventory/reserve", body)),
        );
        tokio::join!(
            stack.inventory.post("/inventory/reserve", &delayed),
            messages
        )
        .1
    })
    .await;
    let statuses: Vec<_> = responses
        .iter()
        .map(|response| response.status.as_u16())
        .collect();
    for of_order in statuses.chunks(goods.len()) {
        // 422 for a message after the one that made the reservation.
        assert!(
            matches!(of_order, [404 | 422, 200, 409 | 422]),
            "{statuses:?}"
        );
    }
    assert_eq!(stack.stock("PROD-001").await, (76, 24));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_inventory_replicas_with_opposite_orders_of_messages_never_deadlock() {
    let mut stack = Stack::start().await;
    find_deadlocks(&mut stack).await;
    let products = "INSERT INTO inventory (product_id, stock)
        SELECT 'P' || n, 40 FROM generate_series(1, 12) n";
    stack.database.execute(products).await;
    let env = [("DATABASE_URL", stack.database.url())];
    let other = Service::start("inventory", free_port(), &env);
    other.wait_until_ready().await;
    let replicas = [&stack.inventory, &other];
    let orders: Vec<_> = (0..200_usize).map(|n| (n, Uuid::new_v4())).collect();
    // Each message goes to both replicas, in opposite orders. A third of the orders are released
    // again, and a third are shipped.
    let send_all = |replica: &'static str, service, orders: Vec<(usize, Uuid)>| {
        join_all(
            orders
                .into_iter()
                .map(move |(n, order)| send(replica, service, n, order)),
        )
    };
    let reversed = orders.iter().rev().copied().collect();
    let (one, two) = tokio::join!(
        send_all("one", replicas[0], orders),
        send_all("two", replicas[1], reversed)
    );
    for (text, response) in one.into_iter().chain(two).flatten() {
        assert!(
            matches!(response.status.as_u16(), 200 | 409),
            "{text}: {response:?}"
        );
    }
    let broken = "SELECT count(*) FROM inventory i
        WHERE stock < 0 OR stock + reserved + shipped <> stocked OR (reserved, shipped) <>
            (SELECT COALESCE(sum(quantity) FILTER (WHERE state = 'HELD'), 0),
                    COALESCE(sum(quantity) FILTER (WHERE state = 'SHIPPED'), 0)
             FROM reservations r WHERE r.product_id = i.product_id)";
    assert_eq!(stack.database.count(broken).await, 0);
    assert_eq!(deadlocks(&mut stack, other).await, 0);
}

async fn send(replica: &str, service: &Service, n: usize, order: Uuid) -> Vec<(String, Response)> {
    let product = format!("P{}", n * 7 % 12 + 1);
    let reserve = json!({"product_id": product, "quantity": n % 3 + 1, "order_id": order});
    let mut messages: Vec<(&str, Value)> = vec![("reserve", reserve)];
    match n % 3 {
        0 => messages.push(("release", json!({"order_id": order}))),
        1 => messages.push(("ship", json!({"order_id": order}))),
        _ => {}
    }
    let mut responses = Vec::new();
    for (kind, body) in messages {
        let path = format!("/inventory/{kind}");
        let response = final_answer(async || service.post(&path, &body).await).await;
        responses.push((format!("{replica} {kind} {body}"), response));
    }
    responses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_more_than_the_stock_does_not_affect_the_rest_of_its_batch() {
    let stack = Stack::start().await;
    let quantities = (0..30).map(|n| if n % 3 == 0 { 51 } else { 1 });
    let bodies: Vec<_> = quantities
        .map(|quantity| json!({"product_id": "PROD-002", "quantity": quantity}))
        .collect();
    let requests = join_all(
        bodies
            .iter()
            .map(|body| stack.inventory.post("/inventory/reserve", body)),
    );
    let responses = behind_a_lock(&stack, "PROD-002", 20, requests).await;
    for (body, response) in bodies.iter().zip(responses) {
        assert_eq!(
            response.status,
            if body["quantity"] == 1 { 200 } else { 409 },
            "{body}: {response:?}"
        );
    }
    assert_eq!(stack.stock("PROD-002").await, (30, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_order_replicas_with_opposite_orders_of_keys_never_deadlock() {
    let mut stack = Stack::with(&[LONG_STEPS]).await;
    find_deadlocks(&mut stack).await;
    let other = stack.start_order_replica().await;
    let slow_insert = "CREATE FUNCTION slow_insert() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;
        CREATE TRIGGER slow_insert BEFORE INSERT ON orders
            FOR EACH ROW EXECUTE FUNCTION slow_insert()";
    stack.database.execute(slow_insert).await;
    let place = async |service: &Service, key: &str| {
        let body = r#"{"product_id":"PROD-001","quantity":1000}"#;
        let key = [("idempotency-key", key)];
        let send = async || {
            service
                .request(Method::POST, "/orders", &key, Some(body))
                .await
        };
        final_answer(send).await
    };
    let keys: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let one = join_all(keys.iter().map(|key| place(&stack.order, key)));
    let two = join_all(keys.iter().rev().map(|key| place(&other, key)));
    let (one, two) = stack.run_together(async { tokio::join!(one, two) }).await;
    for response in one.into_iter().chain(two) {
        assert_eq!(
            response.status, 409,
            "neither out of stock nor in progress: {response:?}"
        );
    }
    assert_eq!(
        stack.database.count("SELECT count(*) FROM orders").await,
        100
    );
    assert_eq!(deadlocks(&mut stack, other).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rejected_order_does_not_fail_the_others_of_its_batch() {
    let stack = Stack::start().await;
    // A constraint that some orders violate.
    stack
        .database
        .execute("ALTER TABLE orders ADD CONSTRAINT no_sevens CHECK (quantity <> 7)")
        .await;
    let requests = (1..=40).map(async |n| {
        let send = async || stack.place("PROD-001", n % 8 + 1).await;
        final_answer(send).await
    });
    for (n, response) in (1..=40).zip(join_all(requests).await) {
        let rejected = n % 8 + 1 == 7;
        assert_eq!(response.status == 500, rejected, "{n}: {response:?}");
    }
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}
