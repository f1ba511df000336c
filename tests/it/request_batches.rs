//! Request batches: the order service sends calls that wait together in one request, and no client
//! notices it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::harness::{LONG_STEPS, Response, Service, Stack, eventually, free_port};

const RESERVE: &str = "/inventory/reserve";
const BATCH: &str = "/inventory/reserve/batch";
/// The same path with percent-encoded letters.
const ENCODED_BATCH: &str = "/inventory/r%65serve/batc%68";

/// The metric that counts inventory's requests.
fn requests(path: &str, status: u16) -> String {
    format!(
        "http_requests_total{{method=\"POST\",path=\"{path}\",\
         service=\"inventory-service\",status_code=\"{status}\""
    )
}

/// The metric that counts batches of two or more calls.
fn batches(dependency: &str) -> String {
    format!("valerix_request_batch_size_count{{dependency=\"{dependency}\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_together_share_a_request_and_are_counted_and_logged_one_by_one() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    // A response tells the order service that the other services accept batches.
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let responses = stack
        .run_together(join_all((0..30).map(|_| stack.place("PROD-001", 1))))
        .await;
    assert!(
        responses.iter().all(|response| response.status == 201),
        "{responses:?}"
    );
    for dependency in ["inventory-service", "payment-service"] {
        assert!(
            stack.order.metric(&batches(dependency)).await > 0.0,
            "no batch was sent to {dependency}"
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
    let counted = stack.inventory.metric(&requests(BATCH, 200)).await;
    assert!(counted < 1.0, "the batch itself is not counted: {counted}");
    let of_route = format!("\"route\":\"{RESERVE}\"");
    let expected: BTreeSet<_> = responses
        .iter()
        .map(|response| response.header("x-trace-id").to_owned())
        .collect();
    eventually("a log line for each call, with its trace id", async || {
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

/// A call in the form that a batch contains.
fn call(body: &Value) -> Value {
    json!({"body": body, "deadline_ms": 5000})
}

/// Statuses and bodies of the responses, in the order of the calls.
fn read_responses(response: &Response) -> Vec<(u64, Value)> {
    assert_eq!(
        (response.status.as_u16(), response.header("content-type")),
        (200, "application/x-ndjson")
    );
    let mut lines: Vec<Value> = response
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
async fn each_call_of_a_batch_is_answered_like_a_single_call() {
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
        call(&json!("not an object")),
        call(&json!({"product_id": "PROD-001", "quantity": 1, "note": "x".repeat(17_000)})),
    ]});
    let responses = read_responses(&stack.inventory.post(BATCH, &calls).await);
    let outcomes: Vec<_> = responses
        .iter()
        .map(|(status, body)| (*status, body["code"].as_str()))
        .collect();
    assert_eq!(
        outcomes,
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
    assert_eq!(responses[0].1["order_id"], order.to_string());
    assert_eq!(responses[2].1["errors"][0]["field"], "quantity");
    assert_eq!(responses[5].1["errors"][0]["field"], "deadline_ms");
    assert!(
        responses
            .iter()
            .all(|(status, body)| *status == 200 || body["instance"] == RESERVE)
    );
    assert_eq!(stack.stock("PROD-001").await, (98, 2));
    let line = eventually("the cause of the 503 in the log", async || {
        stack
            .inventory
            .lines()
            .into_iter()
            .find(|line| line.contains("the service is unavailable"))
    })
    .await;
    assert!(line.contains("deadline passed"), "{line}");

    let charged = json!({"order_id": order});
    let calls = json!({"calls": [call(&charged), call(&json!({"order_id": "x"}))]});
    let responses = read_responses(&stack.payment.post("/payments/batch", &calls).await);
    assert_eq!(
        (responses[0].0, responses[0].1["status"].as_str()),
        (201, Some("SUCCESS"))
    );
    assert_eq!(responses[1].0, 400);
    let again = read_responses(
        &stack
            .payment
            .post("/payments/batch", &json!({"calls": [call(&charged)]}))
            .await,
    );
    assert_eq!(
        (again[0].0, &again[0].1["id"]),
        (200, &responses[0].1["id"]),
        "one charge"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_batches_are_rejected() {
    let stack = Stack::start().await;
    let valid_call = call(&json!({"product_id": "PROD-001", "quantity": 1}));
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
            &json!({"calls": vec![&valid_call; 129]}).to_string(),
            "invalid-request",
        ),
    ] {
        let response = stack
            .inventory
            .request(Method::POST, BATCH, &[], Some(body))
            .await;
        let problem = response.assert_problem(400, code);
        if code == "invalid-request" {
            assert_eq!(problem["errors"][0]["field"], "calls", "{body}");
        }
    }
    let too_long = json!({"calls": [call(&json!("x".repeat(300_000)))]}).to_string();
    let response = stack
        .inventory
        .request(Method::POST, BATCH, &[], Some(&too_long))
        .await;
    response.assert_problem(413, "too-large");
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gremlin_is_active_calls_go_one_by_one_and_each_fault_hits_one() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let reserve = json!({"product_id": "PROD-001", "quantity": 1000});
    let offer = stack.inventory.post(RESERVE, &reserve).await;
    assert_eq!(offer.header("x-max-batch-size"), "128");
    stack
        .inventory
        .add_gremlin_rule(json!({"kind": "error", "status": 500, "route": RESERVE, "max_fires": 3}))
        .await;
    let batch = json!({"calls": [call(&reserve)]});
    for path in [BATCH, ENCODED_BATCH] {
        stack
            .inventory
            .post(path, &batch)
            .await
            .assert_problem(409, "one-by-one");
    }
    let responses = stack
        .run_together(join_all((0..30).map(|_| stack.place("PROD-001", 1))))
        .await;
    let pending = responses
        .iter()
        .filter(|response| response.status == 202)
        .count();
    assert_eq!(pending, 3, "{responses:?}");
    assert!(
        responses
            .iter()
            .all(|response| matches!(response.status.as_u16(), 201 | 202)),
        "{responses:?}"
    );
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
    let no_delay = json!({"enabled": true, "delay_ms": 0});
    assert_eq!(
        stack
            .inventory
            .post("/gremlin/latency", &no_delay)
            .await
            .status,
        200
    );
    let while_active = stack
        .inventory
        .post(
            RESERVE,
            &json!({"product_id": "PROD-001", "quantity": 1000}),
        )
        .await;
    assert!(
        !while_active.headers.contains_key("x-max-batch-size"),
        "{while_active:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_batch_with_an_encoded_path_is_counted_under_its_route() {
    let stack = Stack::start().await;
    let batch = json!({"calls": [call(&json!({"product_id": "PROD-999", "quantity": 1}))]});
    let responses = read_responses(&stack.inventory.post(ENCODED_BATCH, &batch).await);
    assert_eq!(
        (responses[0].0, &responses[0].1["instance"]),
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
        "a client must not be able to create a series"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_batch_are_executed_although_its_client_has_disconnected() {
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
    // The first byte of the response shows that the calls are in progress.
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

/// How an inventory service handles request batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchSupport {
    /// It does not know them.
    None,
    /// It offers them, but does not have the route: as after a return to an older version.
    OfferedButMissing,
    /// It answers the first call of each batch and closes the connection.
    FirstCallOnly,
}

/// An inventory service that has every product in stock. It counts the requests that it gets.
#[derive(Clone)]
struct FakeInventory {
    support: BatchSupport,
    single_calls: Arc<AtomicUsize>,
    batches: Arc<AtomicUsize>,
}

impl FakeInventory {
    async fn start(support: BatchSupport) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inventory = Self {
            support,
            single_calls: Arc::default(),
            batches: Arc::default(),
        };
        let accepting = inventory.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        (inventory, url)
    }

    /// Serves requests until either side closes the connection.
    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((path, body)) = next_request(&mut stream).await {
            let (response, last) = self.response(&path, &body);
            if stream.write_all(response.as_bytes()).await.is_err() || last {
                return;
            }
        }
    }

    /// The response, and whether it is the last one of the connection.
    fn response(&self, path: &str, body: &Value) -> (String, bool) {
        if path == RESERVE {
            self.single_calls.fetch_add(1, Ordering::Relaxed);
            let offer = if self.support == BatchSupport::None {
                ""
            } else {
                "x-max-batch-size: 128\r\n"
            };
            return (with_length("200 OK", offer, &reserved(body)), false);
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
        if self.support == BatchSupport::OfferedButMissing {
            return (with_length("404 Not Found", "", "{}"), false);
        }
        let line = format!(
            "{{\"call\":0,\"status\":200,\"body\":{}}}\n",
            reserved(&body["calls"][0]["body"])
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\
            transfer-encoding: chunked\r\n\r\n";
        (format!("{head}{:x}\r\n{line}\r\n", line.len()), true)
    }
}

fn with_length(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The body of the response to a successful reserve.
fn reserved(request: &Value) -> String {
    json!({
        "order_id": request["order_id"],
        "product_id": request["product_id"],
        "quantity": request["quantity"],
        "stock": 1,
        "reserved": 1,
    })
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

/// Starts another order service on the stack's database, with another inventory service.
async fn start_order_service_with(stack: &Stack, inventory: &str) -> Service {
    let env = [
        ("DATABASE_URL", stack.database.url()),
        ("INVENTORY_SERVICE_URL", inventory.to_owned()),
        ("PAYMENT_SERVICE_URL", stack.payment.url.clone()),
        (LONG_STEPS.0, LONG_STEPS.1.to_owned()),
    ];
    let order = Service::start("order", free_port(), &env);
    order.wait_until_ready().await;
    order
}

/// Places one order, after which the order service knows whether batches are offered, and then
/// `count` orders together.
async fn place_orders(stack: &Stack, order: &Service, count: usize) -> Vec<Response> {
    let body = json!({"product_id": "PROD-001", "quantity": 1});
    assert_eq!(order.post("/orders", &body).await.status, 201);
    stack
        .run_together(join_all((0..count).map(|_| order.post("/orders", &body))))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_batches_gets_single_calls() {
    let stack = Stack::start().await;
    for support in [BatchSupport::None, BatchSupport::OfferedButMissing] {
        let (inventory, url) = FakeInventory::start(support).await;
        let order = start_order_service_with(&stack, &url).await;
        let responses = place_orders(&stack, &order, 20).await;
        assert!(
            responses.iter().all(|response| response.status == 201),
            "{support:?}: {responses:?}"
        );
        assert_eq!(
            inventory.single_calls.load(Ordering::Relaxed),
            21,
            "{support:?}"
        );
        let batches = inventory.batches.load(Ordering::Relaxed);
        assert_eq!(
            batches > 0,
            support == BatchSupport::OfferedButMissing,
            "{support:?}: {batches} batches"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_an_answer_in_a_truncated_batch_have_an_unknown_outcome() {
    let stack = Stack::start().await;
    let (inventory, url) = FakeInventory::start(BatchSupport::FirstCallOnly).await;
    let order = start_order_service_with(&stack, &url).await;
    let responses = place_orders(&stack, &order, 20).await;
    let batches = inventory.batches.load(Ordering::Relaxed);
    assert!(batches > 0);
    let (confirmed, unknown): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.status == 201);
    assert!(
        !confirmed.is_empty() && !unknown.is_empty(),
        "{responses:?}"
    );
    for response in unknown {
        assert_eq!(
            (response.status.as_u16(), &response.json()["status"]),
            (202, &json!("PENDING_INVENTORY"))
        );
    }
}
