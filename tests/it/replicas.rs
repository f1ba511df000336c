//! Several replicas of each service behind a load balancer: clients get the same results from each.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::harness::events::{Change, Listener, sorted};
use crate::harness::haproxy::{HaProxy, Replicas};
use crate::harness::{Service, Stack, TestDatabase, WAIT_TIMEOUT, eventually, free_port};

const PRODUCTS: usize = 8;
const STOCK: &str = "INSERT INTO inventory (product_id, stock)
    SELECT 'P' || n, 100000 FROM generate_series(0, 7) n";

/// 3 order, 2 inventory and 2 payment processes on one database, which reach each other only
/// through HAProxy.
struct Fleet {
    database: TestDatabase,
    haproxy: HaProxy,
    replicas: Replicas,
    order: Vec<Service>,
    inventory: Vec<Service>,
    payment: Vec<Service>,
    env: Vec<(&'static str, String)>,
}

impl Fleet {
    /// Starts all replicas. Only the first order replica gets the variables `first`.
    async fn start(first: &[(&'static str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        database.execute(STOCK).await;
        let ports = |count: usize| (0..count).map(|_| free_port()).collect::<Vec<_>>();
        let replicas = Replicas {
            order: ports(3),
            inventory: ports(2),
            payment: ports(2),
        };
        let haproxy = HaProxy::start(&replicas);
        let env = vec![
            ("DATABASE_URL", database.url()),
            ("INVENTORY_SERVICE_URL", haproxy.inventory.clone()),
            ("PAYMENT_SERVICE_URL", haproxy.payment.clone()),
            ("PAYMENT_SUCCESS_RATE", "1".to_owned()),
        ];
        let start = |role: &str, ports: &[u16], special: &[(&'static str, &str)]| {
            let special: Vec<_> = special
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            let env = |n: usize| {
                if n == 0 {
                    [&env[..], &special].concat()
                } else {
                    env.clone()
                }
            };
            let started = ports
                .iter()
                .enumerate()
                .map(|(n, port)| Service::start(role, *port, &env(n)));
            started.collect::<Vec<_>>()
        };
        let order = start("order", &replicas.order, first);
        let inventory = start("inventory", &replicas.inventory, &[]);
        let payment = start("payment", &replicas.payment, &[]);
        join_all(
            order
                .iter()
                .chain(&inventory)
                .chain(&payment)
                .map(Service::wait_until_ready),
        )
        .await;
        for (service, count) in [("order", 3), ("inventory", 2), ("payment", 2)] {
            haproxy.wait_for_replicas(service, count).await;
        }
        Self {
            database,
            haproxy,
            replicas,
            order,
            inventory,
            payment,
            env,
        }
    }

    /// Starts one more replica of each service, and reloads HAProxy with its address.
    fn add_replicas(&mut self) {
        let new = [free_port(), free_port(), free_port()];
        self.order.push(Service::start("order", new[0], &self.env));
        self.inventory
            .push(Service::start("inventory", new[1], &self.env));
        self.payment
            .push(Service::start("payment", new[2], &self.env));
        self.replicas.order.push(new[0]);
        self.replicas.inventory.push(new[1]);
        self.replicas.payment.push(new[2]);
        self.haproxy.reload(&self.replicas);
    }

    /// Kills the first replica of each service, adds one, and then kills the second one, while
    /// customers place orders.
    async fn kill_and_add_replicas(&mut self, shop: &Shop) {
        shop.wait_for_responses(40).await;
        for replica in [
            &mut self.order[0],
            &mut self.inventory[0],
            &mut self.payment[0],
        ] {
            replica.process.kill().await.unwrap();
            shop.wait_for_responses(40).await;
        }
        self.add_replicas();
        for (service, alive) in [("order", 3), ("inventory", 2), ("payment", 2)] {
            self.haproxy.wait_for_replicas(service, alive).await;
        }
        shop.wait_for_responses(80).await;
        for replica in [
            &mut self.order[1],
            &mut self.inventory[1],
            &mut self.payment[1],
        ] {
            replica.process.kill().await.unwrap();
        }
        shop.wait_for_responses(80).await;
        shop.closed.store(true, Ordering::Relaxed);
    }

    async fn wait_until_settled(&self, replica: &Service) {
        eventually("every order to be settled", async || {
            let unsettled = replica.get("/audit").await.json()["orders"]["unsettled"].as_i64()?;
            (unsettled == 0).then_some(())
        })
        .await;
    }
}

/// How often a request was retried: because its order was in progress, and because no replica had
/// answered.
#[derive(Debug, Default, Clone, Copy)]
struct Retries {
    in_progress: usize,
    unanswered: usize,
}

/// Places an order with a key, and retries until its response is final.
async fn place_with_retries(
    http: &Client,
    url: &str,
    key: &str,
    product: &str,
) -> (StatusCode, Value, Retries) {
    let body = json!({"product_id": product, "quantity": 1}).to_string();
    let retries = Cell::new(Retries::default());
    let response = eventually("the response to an order", async || {
        let request = http
            .post(format!("{url}/orders"))
            .header("idempotency-key", key)
            .body(body.clone());
        let mut so_far = retries.get();
        let mut pause = 100;
        if let Ok(response) = request.send().await {
            let status = response.status();
            let text = response.text().await.unwrap_or_default();
            match (status.as_u16(), serde_json::from_str::<Value>(&text).ok()) {
                (201 | 202, Some(body)) => return Some((status, body)),
                (409, Some(body)) => {
                    assert_eq!(body["code"], "idempotency-key-in-flight", "{body}");
                    so_far.in_progress += 1;
                    pause = 1000;
                }
                (201 | 202 | 409 | 502 | 503 | 504, _) => so_far.unanswered += 1,
                (status, body) => panic!("{status}: {body:?}"),
            }
        } else {
            so_far.unanswered += 1;
        }
        retries.set(so_far);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        None
    })
    .await;
    (response.0, response.1, retries.get())
}

/// Counts of what customers saw. They place orders until `closed` is set.
#[derive(Default)]
struct Shop {
    answered: AtomicUsize,
    in_progress: AtomicUsize,
    unanswered: AtomicUsize,
    closed: std::sync::atomic::AtomicBool,
}

impl Shop {
    async fn customer(&self, number: usize, url: &str) -> Vec<String> {
        let http = Client::builder()
            .no_proxy()
            .timeout(WAIT_TIMEOUT)
            .build()
            .unwrap();
        let mut orders = Vec::new();
        while !self.closed.load(Ordering::Relaxed) {
            let key = format!("customer-{number}-{}", orders.len());
            let product = format!("P{}", (number + orders.len()) % PRODUCTS);
            let (_, order, retries) = place_with_retries(&http, url, &key, &product).await;
            orders.push(order["id"].as_str().unwrap().to_owned());
            self.answered.fetch_add(1, Ordering::Relaxed);
            self.in_progress
                .fetch_add(retries.in_progress, Ordering::Relaxed);
            self.unanswered
                .fetch_add(retries.unanswered, Ordering::Relaxed);
        }
        orders
    }

    /// Waits until `count` more orders were answered.
    async fn wait_for_responses(&self, count: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        eventually("more orders to be answered", async || {
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }
}

/// Reads the event stream through HAProxy until the last change, and resumes it on another replica
/// when a replica ends.
async fn follow_stream(url: &str, last: &str) -> Vec<Change> {
    let (mut received, mut resume) = (Vec::new(), None);
    loop {
        let open = async || Listener::try_at(url, resume.as_deref()).await;
        let mut listener = eventually("a stream", open).await;
        while let Some(frame) = listener.frame().await {
            assert_eq!(frame.event.as_deref(), Some("order"), "{frame:?}");
            let change = frame.data.unwrap();
            received.push(Change::of(&change));
            if (&change["product_id"], &change["status"]) == (&json!(last), &json!("FAILED")) {
                return received;
            }
        }
        resume = Some(listener.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_fails_while_replicas_are_killed_and_added_under_load() {
    const LAST: &str = "PROD-404";
    let mut fleet = Fleet::start(&[]).await;
    let (shop, url) = (Shop::default(), fleet.haproxy.order.clone());
    let stream = format!("{url}/orders/stream?last_event_id=0-0");
    let (received, placed) = tokio::join!(follow_stream(&stream, LAST), async {
        let customers = join_all((0..8).map(|number| shop.customer(number, &url)));
        let (placed, ()) = tokio::join!(customers, fleet.kill_and_add_replicas(&shop));
        fleet.wait_until_settled(&fleet.order[3]).await;
        let body = json!({"product_id": LAST, "quantity": 1});
        assert_eq!(fleet.order[3].post("/orders", &body).await.status, 422);
        placed
    });
    let mut orders: Vec<_> = placed.into_iter().flatten().collect();
    let answered = orders.len();
    let (in_progress, unanswered) = (shop.in_progress.into_inner(), shop.unanswered.into_inner());
    println!("{answered} orders; retries: {in_progress} in progress, {unanswered} unanswered");
    orders.sort_unstable();
    orders.dedup();
    assert_eq!(orders.len(), answered, "each key has its own order");
    let count = async |condition: &str| {
        fleet
            .database
            .count(&format!("SELECT count(*) FROM orders WHERE {condition}"))
            .await
    };
    let answered = i64::try_from(answered).unwrap();
    assert_eq!(
        count("idempotency_key IS NOT NULL").await,
        answered,
        "no key has two orders"
    );
    fleet.wait_until_settled(&fleet.order[3]).await;
    assert_eq!(count("status = 'CONFIRMED'").await, answered);
    let audit = fleet.order[2].get("/audit").await.json();
    assert!(
        audit["clean"] == true && audit["orders"]["reservations_without_order"] == 0,
        "{audit:#}"
    );

    let stored = Change::stored(&fleet.database).await;
    let of_last = received.last().unwrap().order_id.clone();
    let expected = stored
        .iter()
        .filter(|change| change.order_id != of_last || received.contains(change));
    let (expected, received) = (sorted(expected.cloned().collect()), sorted(received));
    assert_eq!(
        received, expected,
        "every change was sent once, by any replica"
    );
    assert!(
        stored.len() - received.len() <= 2,
        "only obligations of the last order are missing"
    );

    for (service, route) in [
        (&fleet.order[2], "/orders"),
        (&fleet.order[3], "/orders"),
        (&fleet.inventory[2], "/inventory/reserve"),
        (&fleet.payment[2], "/payments"),
    ] {
        let series =
            format!("http_request_duration_seconds_count{{method=\"POST\",path=\"{route}\"");
        assert!(
            service.metric(&series).await >= 5.0,
            "{} got no requests",
            service.url
        );
    }
    eventually(
        "the replicas to report the same service level",
        async || {
            let (one, other) = (
                requests_in_history(&fleet.order[2]).await,
                requests_in_history(&fleet.order[3]).await,
            );
            (one > 0 && one == other).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_retries_an_order_on_another_replica_only_if_that_is_safe() {
    const NO_ANSWER: u16 = 0;
    // The first replica aborts in its first request, after the order was stored and the stock was
    // reserved.
    let armed = [("VALERIX_FAILPOINT", "order.reserved=abort")];
    let mut fleet = Fleet::start(&armed).await;
    let http = Client::builder()
        .no_proxy()
        .timeout(WAIT_TIMEOUT)
        .build()
        .unwrap();
    let url = fleet.haproxy.order.clone();
    let placed = Cell::new(0);
    let place = async |with_key: bool| {
        placed.set(placed.get() + 1);
        let mut request = http.post(format!("{url}/orders"));
        if with_key {
            request = request.header("idempotency-key", placed.get().to_string());
        }
        let response = request
            .body(json!({"product_id": "P0", "quantity": 1}).to_string())
            .send()
            .await;
        response.map_or(NO_ANSWER, |response| response.status().as_u16())
    };
    let place_until_the_replica_aborts = async |with_key: bool| {
        for _ in 0..50 {
            let status = place(with_key).await;
            if status != 201 {
                return status;
            }
        }
        panic!("HAProxy never chose the first replica");
    };
    let status = place_until_the_replica_aborts(true).await;
    assert_eq!(
        status, 409,
        "another replica got the retry and found the order in progress"
    );
    let last = placed.get().to_string();
    fleet.order[0].process.wait().await.unwrap();
    for _ in 0..12 {
        assert_eq!(
            place(false).await,
            201,
            "a request that reached no replica is sent to another one"
        );
    }
    fleet.wait_until_settled(&fleet.order[1]).await;
    let (status, order, _) = place_with_retries(&http, &url, &last, "P0").await;
    assert_eq!(
        (status.as_u16(), &order["status"]),
        (201, &json!("CONFIRMED"))
    );

    let env = fleet.env.clone();
    fleet.order[0].restart(&env, &armed).await;
    fleet.haproxy.wait_for_replicas("order", 3).await;
    let status = place_until_the_replica_aborts(false).await;
    // On a connection that had requests before, HAProxy closes it instead of answering 502.
    assert!(
        [502, NO_ANSWER].contains(&status),
        "{status}: an order without a key must not be sent again"
    );
    fleet.wait_until_settled(&fleet.order[1]).await;
    let placed = placed.get();
    assert_eq!(
        fleet.database.count("SELECT count(*) FROM orders").await,
        placed,
        "one order for each request"
    );
    let audit = fleet.order[2].get("/audit").await.json();
    assert_eq!(
        (&audit["clean"], &audit["orders"]["confirmed"]),
        (&json!(true), &json!(placed))
    );
}

/// The number of requests of the last ten minutes that a replica reports.
async fn requests_in_history(replica: &Service) -> u64 {
    let history = replica.get("/sla/history").await;
    assert_eq!(history.status, 200);
    let history = history.json();
    history["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["requests"].as_u64().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_reports_the_service_level_of_all_replicas() {
    let stack = Stack::start().await;
    let second = stack.start_order_replica().await;
    let body = json!({"product_id": "PROD-001", "quantity": 1});
    stack.inventory.set_latency(true, 300).await;
    for _ in 0..3 {
        stack.order.post("/orders", &body).await;
    }
    stack.inventory.set_latency(false, 0).await;
    for _ in 0..2 {
        second.post("/orders", &body).await;
    }
    let level = eventually("both replicas to report the same level", async || {
        let (one, other) = (
            stack.order.get("/sla").await.json(),
            second.get("/sla").await.json(),
        );
        (one == other && one["requests"] == 5).then_some(one)
    })
    .await;
    assert!(
        level["p50_ms"].as_f64() > Some(300.0),
        "three of five were slow: {level}"
    );
    assert_eq!(
        (
            requests_in_history(&stack.order).await,
            requests_in_history(&second).await
        ),
        (5, 5)
    );
    // A replica that starts later reports the earlier requests too.
    let third = stack.start_order_replica().await;
    eventually("the third replica to report all requests", async || {
        (requests_in_history(&third).await == 5).then_some(())
    })
    .await;

    stack.database.refuse_connections().await;
    for _ in 0..4 {
        // A session that ends during the request makes its outcome unknown. That is a 503 as well.
        assert_eq!(stack.order.post("/orders", &body).await.status, 503);
    }
    assert_eq!(
        (
            requests_in_history(&stack.order).await,
            requests_in_history(&second).await
        ),
        (9, 5),
        "each replica reports its own requests, and no error"
    );
    let no_reports = "the service level has only this replica's requests";
    eventually("the outage to be logged once", async || {
        let count = stack
            .order
            .lines()
            .iter()
            .filter(|line| line.contains(no_reports))
            .count();
        (count == 1).then_some(())
    })
    .await;
    stack.database.accept_connections().await;
    eventually("the delayed reports to be shared", async || {
        (requests_in_history(&second).await == 9 && requests_in_history(&third).await == 9)
            .then_some(())
    })
    .await;

    // Each replica writes its report every half second, if there is something new.
    let seconds_since_report =
        "SELECT (EXTRACT(EPOCH FROM now() - max(reported_at)))::bigint FROM sla_reports";
    eventually(
        "no reports to be written without new requests",
        async || (stack.database.count(seconds_since_report).await >= 3).then_some(()),
    )
    .await;
    assert_eq!(
        (
            requests_in_history(&stack.order).await,
            requests_in_history(&second).await,
            requests_in_history(&third).await
        ),
        (9, 9, 9)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_a_backlog_and_no_two_recover_the_same_order() {
    const BACKLOG: f64 = 600.0;
    let stack = Stack::with(&[("PAYMENT_LATENCY_MS", "100")]).await;
    let (second, third) = tokio::join!(stack.start_order_replica(), stack.start_order_replica());
    let replicas = [&stack.order, &second, &third];
    stack.database.execute(STOCK).await;
    let backlog = "INSERT INTO orders (product_id, quantity)
        SELECT 'P' || n % 8, 1 FROM generate_series(1, 600) n";
    stack.database.execute(backlog).await;
    stack.wait_until_settled().await;
    let attempts = "valerix_recovery_attempts_total";
    // An attempt is counted a moment after its order is settled.
    let counted = async || {
        let shares = join_all(replicas.iter().map(|replica| replica.metric(attempts))).await;
        let claimed = stack
            .database
            .count("SELECT sum(epoch - 1) FROM orders")
            .await;
        (claimed, shares)
    };
    let shares = eventually("every attempt to be counted", async || {
        let (claimed, shares) = counted().await;
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
        let all = (shares.iter().sum::<f64>() - claimed as f64).abs() < 0.5;
        all.then_some(shares)
    })
    .await;
    let fair = BACKLOG / 3.0;
    assert!(
        shares.iter().all(|share| *share >= fair / 2.0),
        "a fair share is {fair}: {shares:?}"
    );
    let fenced = format!("{attempts}{{outcome=\"fenced\"}}");
    let fenced = join_all(replicas.iter().map(|replica| replica.metric(&fenced))).await;
    assert_eq!(fenced, [0.0; 3], "two replicas recovered the same order");
    let audit = stack.audit().await.unwrap();
    assert_eq!(audit.orders.confirmed, 600, "{audit}");
    stack.assert_clean_audit().await;
}
