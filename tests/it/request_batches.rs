//! Calls that are made together go in one request, and nobody sees a difference.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::harness::{Answer, Service, Stack, eventually, free_port};

const RESERVE: &str = "/inventory/reserve";
const BUNDLE: &str = "/inventory/reserve/batch";
/// The same, as nobody would write it.
const ENCODED: &str = "/inventory/r%65serve/bundl%65";

fn requests(path: &str, status: u16) -> String {
    format!(
        "http_requests_total{{method=\"POST\",path=\"{path}\",service=\"inventory-service\",status_code=\"{status}\""
    )
}

fn bundles(dependency: &str) -> String {
    format!("valerix_request_batch_size_count{{dependency=\"{dependency}\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_together_go_in_one_request_and_each_counts_by_itself() {
    let stack = Stack::start().await;
    // From its answers the order service learns that bundles are taken.
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let answers = stack
        .run_together(join_all((0..30).map(|_| stack.place("PROD-001", 1))))
        .await;
    assert!(
        answers.iter().all(|answer| answer.status == 201),
        "{answers:?}"
    );
    for dependency in ["inventory-service", "payment-service"] {
        assert!(
            stack.order.metric(&bundles(dependency)).await > 0.0,
            "no bundle went to {dependency}"
        );
    }
    assert_eq!(
        stack
            .inventory
            .metric(&requests(RESERVE, 200))
            .await
            .to_string(),
        "31"
    );
    let carriers = stack.inventory.metric(&requests(BUNDLE, 200)).await;
    assert!(carriers < 1.0, "what carries is no call: {carriers}");
    let of_route = format!("\"route\":\"{RESERVE}\"");
    let expected: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.header("x-trace-id").to_owned())
        .collect();
    eventually("a line for each, in its trace", async || {
        let lines = stack.inventory.lines();
        let traces = lines
            .iter()
            .filter(|line| line.contains(&of_route))
            .map(|line| trace_of(line));
        traces
            .collect::<BTreeSet<_>>()
            .is_superset(&expected)
            .then_some(())
    })
    .await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

fn trace_of(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["trace_id"].as_str().unwrap().to_owned()
}

fn call(body: &Value) -> Value {
    json!({"body": body, "deadline_ms": 5000})
}

/// The answers' statuses and bodies, in the order of the calls.
fn read(answer: &Answer) -> Vec<(u64, Value)> {
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/x-ndjson")
    );
    let mut lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["call"].as_u64());
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(index, line)| line["call"] == index),
        "{lines:?}"
    );
    lines
        .into_iter()
        .map(|line| (line["status"].as_u64().unwrap(), line["body"].clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_bundle_is_answered_as_if_it_had_come_alone() {
    let stack = Stack::start().await;
    let order = Uuid::new_v4();
    let good = json!({"product_id": "PROD-001", "quantity": 2, "order_id": order});
    let calls = json!({"calls": [
        call(&good),
        call(&json!({"product_id": "PROD-999", "quantity": 1})),
        call(&json!({"product_id": "PROD-001", "quantity": 0})),
        call(&json!({"product_id": "PROD-002", "quantity": 51})),
        {"body": good, "deadline_ms": 0},
        {"body": good, "deadline_ms": 3_600_001},
        call(&json!("nothing")),
        call(&json!({"product_id": "PROD-001", "quantity": 1, "note": "x".repeat(17_000)})),
    ]});
    let answers = read(&stack.inventory.post(BUNDLE, &calls).await);
    let told: Vec<_> = answers
        .iter()
        .map(|(status, body)| (*status, body["code"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (200, None),
            (404, Some("unknown-product")),
            (400, Some("invalid-request")),
            (409, Some("insufficient-stock")),
            (503, Some("deadline-passed")),
            (400, Some("invalid-request")),
            (400, Some("malformed-json")),
            (413, Some("too-large")),
        ]
    );
    assert_eq!(answers[0].1["order_id"], order.to_string());
    assert_eq!(answers[2].1["errors"][0]["field"], "quantity");
    assert_eq!(answers[5].1["errors"][0]["field"], "deadline_ms");
    assert!(
        answers
            .iter()
            .all(|(status, body)| *status == 200 || body["instance"] == RESERVE)
    );
    assert_eq!(stack.stock("PROD-001").await, (98, 2));
    let line = eventually("its cause in the log", async || {
        stack
            .inventory
            .lines()
            .into_iter()
            .find(|line| line.contains("cannot serve now"))
    })
    .await;
    assert!(line.contains("deadline passed"), "{line}");

    let charged = json!({"order_id": order});
    let calls = json!({"calls": [call(&charged), call(&json!({"order_id": "x"}))]});
    let answers = read(&stack.payment.post("/payments/batch", &calls).await);
    assert_eq!(
        (answers[0].0, answers[0].1["status"].as_str()),
        (201, Some("SUCCESS"))
    );
    assert_eq!(answers[1].0, 400);
    let again = read(
        &stack
            .payment
            .post("/payments/batch", &json!({"calls": [call(&charged)]}))
            .await,
    );
    assert_eq!(
        (again[0].0, &again[0].1["id"]),
        (200, &answers[0].1["id"]),
        "once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_bundle_is_refused_whole() {
    let stack = Stack::start().await;
    let one = call(&json!({"product_id": "PROD-001", "quantity": 1}));
    for (body, code) in [
        ("", "malformed-json"),
        ("{\"calls\": [", "malformed-json"),
        ("[]", "invalid-request"),
        ("{}", "invalid-request"),
        ("{\"calls\": []}", "invalid-request"),
        ("{\"calls\": {}}", "invalid-request"),
        ("{\"calls\": [{}]}", "invalid-request"),
        (
            "{\"calls\": [{\"body\": {}, \"deadline_ms\": -1}]}",
            "invalid-request",
        ),
        (
            &json!({"calls": vec![&one; 129]}).to_string(),
            "invalid-request",
        ),
    ] {
        let answer = stack
            .inventory
            .request(Method::POST, BUNDLE, &[], Some(body))
            .await;
        let problem = answer.assert_problem(400, code);
        if code == "invalid-request" {
            assert_eq!(problem["errors"][0]["field"], "calls", "{body}");
        }
    }
    let long = json!({"calls": [call(&json!("x".repeat(300_000)))]}).to_string();
    let answer = stack
        .inventory
        .request(Method::POST, BUNDLE, &[], Some(&long))
        .await;
    answer.assert_problem(413, "too-large");
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gremlin_is_at_work_each_fault_hits_one_call() {
    let stack = Stack::start().await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let reserve = json!({"product_id": "PROD-001", "quantity": 1000});
    let offer = stack.inventory.post(RESERVE, &reserve).await;
    assert_eq!(offer.header("x-max-batch-size"), "128");
    stack
        .inventory
        .add_gremlin_rule(json!({"kind": "error", "status": 500, "route": RESERVE, "max_fires": 3}))
        .await;
    let bundle = json!({"calls": [call(&reserve)]});
    for path in [BUNDLE, ENCODED] {
        stack
            .inventory
            .post(path, &bundle)
            .await
            .assert_problem(409, "one-by-one");
    }
    let answers = stack
        .run_together(join_all((0..30).map(|_| stack.place("PROD-001", 1))))
        .await;
    let late = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(late, 3, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status.as_u16(), 201 | 202)),
        "{answers:?}"
    );
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    let switch = json!({"enabled": true, "delay_ms": 0});
    assert_eq!(
        stack
            .inventory
            .post("/gremlin/latency", &switch)
            .await
            .status,
        200
    );
    let unasked = stack
        .inventory
        .post(
            RESERVE,
            &json!({"product_id": "PROD-001", "quantity": 1000}),
        )
        .await;
    assert!(
        !unasked.headers.contains_key("x-max-batch-size"),
        "{unasked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn however_its_path_is_written_a_call_counts_under_its_route() {
    let stack = Stack::start().await;
    let bundle = json!({"calls": [call(&json!({"product_id": "PROD-999", "quantity": 1}))]});
    let answers = read(&stack.inventory.post(ENCODED, &bundle).await);
    assert_eq!(
        (answers[0].0, &answers[0].1["instance"]),
        (404, &json!(RESERVE))
    );
    assert_eq!(
        stack
            .inventory
            .metric(&requests(RESERVE, 404))
            .await
            .to_string(),
        "1"
    );
    assert!(
        !stack.inventory.get("/metrics").await.text.contains('%'),
        "no caller makes a series of his own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_caller_is_gone_are_carried_out_to_their_end() {
    let stack = Stack::with(&[("PAYMENT_LATENCY_MS", "500")]).await;
    let orders: Vec<_> = (0..10).map(|_| Uuid::new_v4()).collect();
    let calls: Vec<_> = orders
        .iter()
        .map(|order| call(&json!({"order_id": order})))
        .collect();
    let body = json!({"calls": calls}).to_string();
    let mut stream = TcpStream::connect(stack.payment.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!(
        "POST /payments/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    // Its head shows that the calls are under way.
    assert!(stream.read_u8().await.is_ok());
    stream.set_zero_linger().unwrap();
    drop(stream);
    eventually("all to be charged", async || {
        (stack.database.count("SELECT count(*) FROM payments").await == 10).then_some(())
    })
    .await;
    let counted = "http_requests_total{method=\"POST\",path=\"/payments\"";
    eventually("all to be counted", async || {
        (stack.payment.metric(counted).await.to_string() == "10").then_some(())
    })
    .await;
}

/// What an inventory makes of bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It has never heard of them.
    Unaware,
    /// It says that it takes them, and then there is no such route, as after a step back to an
    /// older release.
    Forgetful,
    /// It answers the first call of each, and closes the connection.
    Fickle,
}

/// An inventory that has everything, and the requests that it got.
#[derive(Clone)]
struct Other {
    manner: Manner,
    single: Arc<AtomicUsize>,
    bundles: Arc<AtomicUsize>,
}

impl Other {
    async fn start(manner: Manner) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let other = Self {
            manner,
            single: Arc::default(),
            bundles: Arc::default(),
        };
        let accepting = other.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        (other, url)
    }

    /// Until the connection ends, from either side.
    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((path, body)) = next_request(&mut stream).await {
            let (answer, last) = self.answer(&path, &body);
            if stream.write_all(answer.as_bytes()).await.is_err() || last {
                return;
            }
        }
    }

    /// And whether it is the connection's last.
    fn answer(&self, path: &str, body: &Value) -> (String, bool) {
        if path == RESERVE {
            self.single.fetch_add(1, Ordering::Relaxed);
            let offer = if self.manner == Manner::Unaware {
                ""
            } else {
                "x-max-batch-size: 128\r\n"
            };
            return (with_length("200 OK", offer, &held(body)), false);
        }
        self.bundles.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Forgetful {
            return (with_length("404 Not Found", "", "{}"), false);
        }
        let line = format!(
            "{{\"call\":0,\"status\":200,\"body\":{}}}\n",
            held(&body["calls"][0]["body"])
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
        (format!("{head}{:x}\r\n{line}\r\n", line.len()), true)
    }
}

fn with_length(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn held(wish: &Value) -> String {
    let (order, product, quantity) = (&wish["order_id"], &wish["product_id"], &wish["quantity"]);
    json!({"order_id": order, "product_id": product, "quantity": quantity, "stock": 1, "reserved": 1})
        .to_string()
}

async fn next_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(' ') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length:") => {
                length = value.parse().unwrap();
            }
            Some((_, rest)) => path = path.or_else(|| rest.split(' ').next().map(str::to_owned)),
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((path?, serde_json::from_slice(&body).ok()?))
}

/// The stack, with an order service beside it whose inventory is another one.
async fn beside(stack: &Stack, inventory: &str) -> Service {
    let env = [
        ("DATABASE_URL", stack.database.url()),
        ("INVENTORY_SERVICE_URL", inventory.to_owned()),
        ("PAYMENT_SERVICE_URL", stack.payment.url.clone()),
    ];
    let order = Service::start("order", free_port(), &env);
    order.wait_until_ready().await;
    order
}

/// One order, which shows what is offered, and then as many together.
async fn buy(stack: &Stack, order: &Service, together: usize) -> Vec<Answer> {
    let body = json!({"product_id": "PROD-001", "quantity": 1});
    assert_eq!(order.post("/orders", &body).await.status, 201);
    stack
        .run_together(join_all(
            (0..together).map(|_| order.post("/orders", &body)),
        ))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_bundles_is_sent_single_calls() {
    let stack = Stack::start().await;
    for manner in [Manner::Unaware, Manner::Forgetful] {
        let (inventory, url) = Other::start(manner).await;
        let order = beside(&stack, &url).await;
        let answers = buy(&stack, &order, 20).await;
        assert!(
            answers.iter().all(|answer| answer.status == 201),
            "{manner:?}: {answers:?}"
        );
        assert_eq!(inventory.single.load(Ordering::Relaxed), 21, "{manner:?}");
        let bundles = inventory.bundles.load(Ordering::Relaxed);
        assert_eq!(
            bundles > 0,
            manner == Manner::Forgetful,
            "{manner:?}: {bundles} bundles"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_breaks_off_leaves_the_rest_unknown() {
    let stack = Stack::start().await;
    let (inventory, url) = Other::start(Manner::Fickle).await;
    let order = beside(&stack, &url).await;
    let answers = buy(&stack, &order, 20).await;
    let bundles = inventory.bundles.load(Ordering::Relaxed);
    assert!(bundles > 0);
    let (confirmed, unknown): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert!(!confirmed.is_empty() && !unknown.is_empty(), "{answers:?}");
    for answer in unknown {
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["status"]),
            (202, &json!("PENDING_INVENTORY"))
        );
    }
}
