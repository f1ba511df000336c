//! Any number of replicas behind a plain load balancer: no customer, listener or order notices
//! which one it met.

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
const STOCK: &str = "INSERT INTO inventory (product_id, stock) SELECT 'P' || n, 100000 FROM generate_series(0, 7) n";

/// 3 order, 2 inventory and 2 payment processes on one database, which know each other by the
/// balancer alone.
struct Fleet {
    database: TestDatabase,
    balancer: HaProxy,
    replicas: Replicas,
    order: Vec<Service>,
    inventory: Vec<Service>,
    payment: Vec<Service>,
    env: Vec<(&'static str, String)>,
}

impl Fleet {
    /// `first` goes to the first order replica alone.
    async fn start(first: &[(&'static str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        database.execute(STOCK).await;
        let ports = |count: usize| (0..count).map(|_| free_port()).collect::<Vec<_>>();
        let replicas = Replicas {
            order: ports(3),
            inventory: ports(2),
            payment: ports(2),
        };
        let balancer = HaProxy::start(&replicas);
        let env = vec![
            ("DATABASE_URL", database.url()),
            ("INVENTORY_SERVICE_URL", balancer.inventory.clone()),
            ("PAYMENT_SERVICE_URL", balancer.payment.clone()),
            ("PAYMENT_SUCCESS_RATE", "1".to_owned()),
            ("DOWNSTREAM_TIMEOUT_MS", "1000".to_owned()),
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
            balancer.wait_for_replicas(service, count).await;
        }
        Self {
            database,
            balancer,
            replicas,
            order,
            inventory,
            payment,
            env,
        }
    }

    /// One more of each, told to the balancer by a reload.
    fn grow(&mut self) {
        let new = [free_port(), free_port(), free_port()];
        self.order.push(Service::start("order", new[0], &self.env));
        self.inventory
            .push(Service::start("inventory", new[1], &self.env));
        self.payment
            .push(Service::start("payment", new[2], &self.env));
        self.replicas.order.push(new[0]);
        self.replicas.inventory.push(new[1]);
        self.replicas.payment.push(new[2]);
        self.balancer.reload(&self.replicas);
    }

    /// Of each role the first dies, a new one comes, and then the second dies.
    async fn is_shaken(&mut self, shop: &Shop) {
        shop.serves(40).await;
        for replica in [
            &mut self.order[0],
            &mut self.inventory[0],
            &mut self.payment[0],
        ] {
            replica.process.kill().await.unwrap();
            shop.serves(40).await;
        }
        self.grow();
        for (service, alive) in [("order", 3), ("inventory", 2), ("payment", 2)] {
            self.balancer.wait_for_replicas(service, alive).await;
        }
        shop.serves(80).await;
        for replica in [
            &mut self.order[1],
            &mut self.inventory[1],
            &mut self.payment[1],
        ] {
            replica.process.kill().await.unwrap();
        }
        shop.serves(80).await;
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

/// How often an order was placed again: because it was under way, and because there was no answer
/// of a replica's.
#[derive(Debug, Default, Clone, Copy)]
struct Repeats {
    under_way: usize,
    unanswered: usize,
}

/// Places an order as often as it takes, with one key.
async fn insist(
    http: &Client,
    url: &str,
    key: &str,
    product: &str,
) -> (StatusCode, Value, Repeats) {
    let body = json!({"product_id": product, "quantity": 1}).to_string();
    let repeats = Cell::new(Repeats::default());
    let answer = eventually("an order's answer", async || {
        let request = http
            .post(format!("{url}/orders"))
            .header("idempotency-key", key)
            .body(body.clone());
        let mut so_far = repeats.get();
        let mut pause = 100;
        if let Ok(response) = request.send().await {
            let status = response.status();
            let text = response.text().await.unwrap_or_default();
            match (status.as_u16(), serde_json::from_str::<Value>(&text).ok()) {
                (201 | 202, Some(body)) => return Some((status, body)),
                (409, Some(body)) => {
                    assert_eq!(body["code"], "idempotency-key-in-flight", "{body}");
                    so_far.under_way += 1;
                    pause = 1000;
                }
                (201 | 202 | 409 | 502 | 503 | 504, _) => so_far.unanswered += 1,
                (status, body) => panic!("{status}: {body:?}"),
            }
        } else {
            so_far.unanswered += 1;
        }
        repeats.set(so_far);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        None
    })
    .await;
    (answer.0, answer.1, repeats.get())
}

/// What customers did: they go on until told to stop.
#[derive(Default)]
struct Shop {
    answered: AtomicUsize,
    under_way: AtomicUsize,
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
            let (_, order, repeats) = insist(&http, url, &key, &product).await;
            orders.push(order["id"].as_str().unwrap().to_owned());
            self.answered.fetch_add(1, Ordering::Relaxed);
            self.under_way
                .fetch_add(repeats.under_way, Ordering::Relaxed);
            self.unanswered
                .fetch_add(repeats.unanswered, Ordering::Relaxed);
        }
        orders
    }

    /// Waits until so many more orders were answered.
    async fn serves(&self, count: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        eventually("more orders to be answered", async || {
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }
}

/// Listens through the balancer until told of the last change, coming back to whichever replica
/// there is.
async fn follow(url: &str, last: &str) -> Vec<Change> {
    let (mut told, mut resume) = (Vec::new(), None);
    loop {
        let open = async || Listener::try_at(url, resume.as_deref()).await;
        let mut listener = eventually("a stream", open).await;
        while let Some(frame) = listener.frame().await {
            assert_eq!(frame.event.as_deref(), Some("order"), "{frame:?}");
            let change = frame.data.unwrap();
            told.push(Change::of(&change));
            if (&change["product_id"], &change["status"]) == (&json!(last), &json!("FAILED")) {
                return told;
            }
        }
        resume = Some(listener.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_killed_and_added_under_load_without_a_failed_order() {
    const LAST: &str = "PROD-404";
    let mut fleet = Fleet::start(&[]).await;
    let (shop, url) = (Shop::default(), fleet.balancer.order.clone());
    let stream = format!("{url}/orders/stream?last_event_id=0-0");
    let (told, placed) = tokio::join!(follow(&stream, LAST), async {
        let customers = join_all((0..8).map(|number| shop.customer(number, &url)));
        let (placed, ()) = tokio::join!(customers, fleet.is_shaken(&shop));
        fleet.wait_until_settled(&fleet.order[3]).await;
        let body = json!({"product_id": LAST, "quantity": 1});
        assert_eq!(fleet.order[3].post("/orders", &body).await.status, 422);
        placed
    });
    let mut orders: Vec<_> = placed.into_iter().flatten().collect();
    let answered = orders.len();
    let (under_way, unanswered) = (shop.under_way.into_inner(), shop.unanswered.into_inner());
    println!("{answered} orders; asked for again: {under_way} under way, {unanswered} unanswered");
    orders.sort_unstable();
    orders.dedup();
    assert_eq!(orders.len(), answered, "each key has an order of its own");
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
        "and no key has two"
    );
    fleet.wait_until_settled(&fleet.order[3]).await;
    assert_eq!(count("status = 'CONFIRMED'").await, answered);
    let audit = fleet.order[2].get("/audit").await.json();
    assert!(
        audit["clean"] == true && audit["orders"]["reservations_without_order"] == 0,
        "{audit:#}"
    );

    let happened = Change::stored(&fleet.database).await;
    let of_last = told.last().unwrap().order_id.clone();
    let expected = happened
        .iter()
        .filter(|change| change.order_id != of_last || told.contains(change));
    let (expected, told) = (sorted(expected.cloned().collect()), sorted(told));
    assert_eq!(
        told, expected,
        "every change was told once, whoever told it"
    );
    assert!(
        happened.len() - told.len() <= 2,
        "all but what the last order still owed"
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
            "{} had no part in it",
            service.url
        );
    }
    eventually(
        "the replicas to agree about the service level",
        async || {
            let (one, other) = (known(&fleet.order[2]).await, known(&fleet.order[3]).await);
            (one > 0 && one == other).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dying_replica_may_have_done_is_repeated_with_a_key_and_never_without() {
    const NO_ANSWER: u16 = 0;
    // Whoever gets to the first replica dies with it, after the order was stored and stock was
    // taken.
    let armed = [("VALERIX_FAILPOINT", "order.reserved=abort")];
    let mut fleet = Fleet::start(&armed).await;
    let http = Client::builder()
        .no_proxy()
        .timeout(WAIT_TIMEOUT)
        .build()
        .unwrap();
    let url = fleet.balancer.order.clone();
    let placed = Cell::new(0);
    let place = async |keyed: bool| {
        placed.set(placed.get() + 1);
        let mut request = http.post(format!("{url}/orders"));
        if keyed {
            request = request.header("idempotency-key", placed.get().to_string());
        }
        let answer = request
            .body(json!({"product_id": "P0", "quantity": 1}).to_string())
            .send()
            .await;
        answer.map_or(NO_ANSWER, |answer| answer.status().as_u16())
    };
    let until_it_dies = async |keyed: bool| {
        for _ in 0..50 {
            let status = place(keyed).await;
            if status != 201 {
                return status;
            }
        }
        panic!("the balancer never asked the first replica");
    };
    let status = until_it_dies(true).await;
    assert_eq!(
        status, 409,
        "another replica was asked, and knows that the order is under way"
    );
    let last = placed.get().to_string();
    fleet.order[0].process.ended().await.unwrap();
    for _ in 0..12 {
        assert_eq!(
            place(false).await,
            201,
            "what reached nobody goes to another, known as dead or not yet"
        );
    }
    fleet.wait_until_settled(&fleet.order[1]).await;
    let (status, order, _) = insist(&http, &url, &last, "P0").await;
    assert_eq!(
        (status.as_u16(), &order["status"]),
        (201, &json!("CONFIRMED"))
    );

    let env = fleet.env.clone();
    fleet.order[0].restart(&env, &armed).await;
    fleet.balancer.wait_for_replicas("order", 3).await;
    let status = until_it_dies(false).await;
    // On a connection that had requests before, HAProxy closes rather than say 502.
    assert!(
        [502, NO_ANSWER].contains(&status),
        "{status}: nobody orders for a customer who gave no key"
    );
    fleet.wait_until_settled(&fleet.order[1]).await;
    let placed = placed.get();
    assert_eq!(
        fleet.database.count("SELECT count(*) FROM orders").await,
        placed,
        "each once"
    );
    let audit = fleet.order[2].get("/audit").await.json();
    assert_eq!(
        (&audit["clean"], &audit["orders"]["confirmed"]),
        (&json!(true), &json!(placed))
    );
}

/// All that a replica knows of the last ten minutes.
async fn known(replica: &Service) -> u64 {
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
async fn every_replica_tells_the_service_level_of_all() {
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
    let level = eventually("both to tell the same", async || {
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
    assert_eq!((known(&stack.order).await, known(&second).await), (5, 5));
    // One that comes later learns of what was before it.
    let third = stack.start_order_replica().await;
    eventually("the third to know", async || {
        (known(&third).await == 5).then_some(())
    })
    .await;

    stack.database.refuse_connections().await;
    for _ in 0..4 {
        stack
            .order
            .post("/orders", &body)
            .await
            .assert_problem(503, "database-unavailable");
    }
    assert_eq!(
        (known(&stack.order).await, known(&second).await),
        (9, 5),
        "each its own, and no error"
    );
    let alone = "the others cannot be heard";
    eventually("it to be said once", async || {
        let said = stack
            .order
            .lines()
            .iter()
            .filter(|line| line.contains(alone))
            .count();
        (said == 1).then_some(())
    })
    .await;
    stack.database.accept_connections().await;
    eventually("what could not be told to be told", async || {
        (known(&second).await == 9 && known(&third).await == 9).then_some(())
    })
    .await;

    // Each replica has a turn every half second.
    let silence = "SELECT (EXTRACT(EPOCH FROM now() - max(reported_at)))::bigint FROM sla_reports";
    eventually(
        "nothing to be written while there is nothing new",
        async || (stack.database.count(silence).await >= 3).then_some(()),
    )
    .await;
    assert_eq!(
        (
            known(&stack.order).await,
            known(&second).await,
            known(&third).await
        ),
        (9, 9, 9)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_shared_out_and_no_order_is_in_two_hands() {
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
    // An attempt counts itself a moment after its order is settled.
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
        "a fair part is {fair}: {shares:?}"
    );
    let overtaken = format!("{attempts}{{outcome=\"overtaken\"}}");
    let overtaken = join_all(replicas.iter().map(|replica| replica.metric(&overtaken))).await;
    assert_eq!(
        overtaken, [0.0; 3],
        "somebody drove an order that another one drove"
    );
    let audit = stack.audit().await.unwrap();
    assert_eq!(audit.orders.confirmed, 600, "{audit}");
    stack.assert_clean_audit().await;
}
