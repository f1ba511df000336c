//! The files of the dashboard, and the routes that the order service has for it.

use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::dedicated_postgres::start_order_service;
use crate::harness::{Response, Service, Stack, TestDatabase, WAIT_TIMEOUT};

async fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Response {
    service.request(Method::GET, path, headers, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_served_compressed_cached_and_under_a_strict_policy() {
    let stack = Stack::start().await;
    let page = stack.order.get("/").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    for rule in [
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(
        !policy.contains("http") && !policy.contains('*'),
        "no other host: {policy}"
    );

    let mut files = references(&page.text, &["src=\"/static/", "href=\"/static/"]);
    let mut seen = Vec::new();
    while let Some(name) = files.pop() {
        if seen.contains(&name) {
            continue;
        }
        let file = stack.order.get(&format!("/static/{name}")).await;
        let wanted = match name.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(
            (file.status.as_u16(), file.header("content-type")),
            (200, wanted),
            "{name}"
        );
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", policy),
        ] {
            assert_eq!(file.header(header), value, "{name}");
        }
        files.extend(references(&file.text, &["from \"./", "import \"./"]));
        seen.push(name);
    }
    assert!(seen.len() >= 15, "{seen:?}");

    // Compression is set for each route.
    for path in ["/", "/static/app.js", "/static/app.css", "/story.json"] {
        let plain = stack.order.get(path).await;
        let small = get(&stack.order, path, &[("accept-encoding", "gzip")]).await;
        assert!(
            plain.headers.get("content-encoding").is_none(),
            "{path}: {plain:?}"
        );
        assert_eq!(
            small
                .headers
                .get("content-encoding")
                .map(HeaderValue::as_bytes),
            Some(&b"gzip"[..]),
            "{path}"
        );
        assert!(small.text.len() < plain.text.len(), "{path}");
    }
    let plain = stack.order.get("/static/app.js").await;
    let tag = plain.header("etag");
    let known = get(&stack.order, "/static/app.js", &[("if-none-match", tag)]).await;
    assert_eq!(
        (
            known.status.as_u16(),
            known.text.as_str(),
            known.header("etag")
        ),
        (304, "", tag)
    );
    let other = get(
        &stack.order,
        "/static/app.js",
        &[("if-none-match", "W/\"0\"")],
    )
    .await;
    assert_eq!((other.status.as_u16(), &other.text), (200, &plain.text));
    for path in ["/static/nothing.js", "/static/..%2FCargo.toml", "/static/"] {
        stack.order.get(path).await.assert_problem(404, "not-found");
    }
}

/// Returns the texts between each of the marks and the next quote.
fn references(text: &str, marks: &[&str]) -> Vec<String> {
    let after = marks.iter().flat_map(|mark| text.split(mark).skip(1));
    after
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

async fn gremlin_calls_are_passed_on(order: &Service, service: &Service, name: &str) {
    let token = [("authorization", "Bearer s3cret")];
    let through = |path: &str| format!("/services/{name}/{path}");
    let rules = through("gremlin/rules");
    let body = json!({"kind": "error", "route": "/none"}).to_string();
    order
        .request(Method::POST, &rules, &[], Some(&body))
        .await
        .assert_problem(401, "unauthorized");
    let made = order
        .request(Method::POST, &rules, &token, Some(&body))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    order
        .request(Method::POST, &rules, &token, Some(&body))
        .await;
    let direct = get(service, "/gremlin/rules", &token).await.json();
    assert_eq!(get(order, &rules, &token).await.json(), direct);
    let one = format!("{rules}/{}", made.json()["id"]);
    assert_eq!(
        order
            .request(Method::DELETE, &one, &token, None)
            .await
            .status,
        204
    );
    assert_eq!(
        get(service, "/gremlin/rules", &token).await.json()["rules"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        order
            .request(Method::DELETE, &rules, &token, None)
            .await
            .status,
        200
    );
    assert_eq!(
        get(service, "/gremlin/rules", &token).await.json()["rules"],
        json!([])
    );
    let on = json!({"enabled": true, "delay_ms": 0}).to_string();
    let latency = through("gremlin/latency");
    assert_eq!(
        order
            .request(Method::POST, &latency, &token, Some(&on))
            .await
            .json()["enabled"],
        true
    );
    assert_eq!(
        get(service, "/gremlin/latency", &token).await.json()["enabled"],
        true
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_service_passes_requests_on_to_the_other_services() {
    let mut stack = Stack::with(&[("GREMLIN_TOKEN", "s3cret")]).await;
    for (name, service) in [
        ("inventory-service", &stack.inventory),
        ("payment-service", &stack.payment),
    ] {
        let through = |path: &str| format!("/services/{name}/{path}");
        let health = stack.order.get(&through("health")).await;
        assert_eq!(
            (&health.json()["service"], health.status.as_u16()),
            (&json!(name), 200)
        );
        let metrics = stack.order.get(&through("metrics")).await;
        assert!(
            metrics
                .header("content-type")
                .starts_with("text/plain; version=0.0.4")
        );
        assert!(
            metrics.text.contains(&format!("service=\"{name}\"")),
            "{}",
            metrics.text
        );

        gremlin_calls_are_passed_on(&stack.order, service, name).await;
    }
    for path in [
        "order-service/health",
        "postgres/health",
        "inventory-service/livez",
        "inventory-service/inventory",
        "inventory-service/gremlin/all",
        "inventory-service/..%2F..%2Fpayments",
    ] {
        stack
            .order
            .get(&format!("/services/{path}"))
            .await
            .assert_problem(404, "not-found");
    }
    stack.payment.process.kill().await.unwrap();
    for path in ["health", "metrics", "gremlin/rules"] {
        let answer = stack
            .order
            .get(&format!("/services/payment-service/{path}"))
            .await;
        answer.assert_problem(502, "service-unreachable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_gets_the_trace_links_and_the_history_of_the_service_level() {
    let pattern = "http://localhost:16686/trace/{trace_id}";
    let stack = Stack::with(&[
        ("TRACE_URL", pattern),
        ("GRAFANA_URL", "http://localhost:3030"),
    ])
    .await;
    let configuration = stack.order.get("/dashboard.json").await.json();
    assert_eq!(
        (&configuration["trace_url"], &configuration["version"]),
        (&json!(pattern), &json!(env!("CARGO_PKG_VERSION")))
    );
    // The default of RECOVERY_BOUND_SECONDS.
    assert_eq!(configuration["recovery_bound_seconds"], 3600);
    assert!(
        configuration["grafana_url"]
            .as_str()
            .unwrap()
            .starts_with("http://localhost:3030"),
        "{configuration}"
    );

    stack.place("PROD-001", 1).await;
    stack.place("PROD-404", 1).await;
    let history = stack.order.get("/sla/history").await.json();
    let points = history["points"].as_array().unwrap();
    assert_eq!(history["step_seconds"], 5);
    let sum: u64 = points
        .iter()
        .map(|point| point["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 2, "{history}");
    let busy: Vec<&Value> = points
        .iter()
        .filter(|point| point["requests"] != 0)
        .collect();
    assert!(
        busy.iter()
            .all(|point| point["average_ms"].as_f64() > Some(0.0)),
        "{history}"
    );
    let plain = Stack::start()
        .await
        .order
        .get("/dashboard.json")
        .await
        .json();
    assert!(
        plain["trace_url"].is_null() && plain["grafana_url"].is_null(),
        "{plain}"
    );
}

/// A fake inventory: sends the same response to each request, and records the heads of the requests.
struct Behind {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Behind {
    /// `ends` closes the connection after each response.
    async fn start(response: &'static [u8], ends: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut request = vec![0; 8192];
                    while let Ok(length @ 1..) = stream.read(&mut request).await {
                        seen.lock()
                            .unwrap()
                            .push(String::from_utf8_lossy(&request[..length]).to_lowercase());
                        if stream.write_all(response).await.is_err() || ends {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, heads }
    }
}

const EMPTY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const HEALTH: &str = "/services/inventory-service/health";

#[tokio::test(flavor = "multi_thread")]
async fn the_order_service_passes_deliveries_on_to_inventory() {
    const ODD: &str = "50 % off / a?b#c ü";
    let mut stack = Stack::with(&[("OPERATOR_TOKEN", "op3rator")]).await;
    let create = format!("INSERT INTO inventory (product_id, stock) VALUES ('{ODD}', 0)");
    stack.database.execute(&create).await;
    let token = [("authorization", "Bearer op3rator")];
    let body = json!({"quantity": 7, "delivery_id": "d-1"}).to_string();
    let through = |product: &str| format!("/services/inventory-service{}", deliveries(product));
    let post = async |product: &str, headers: &[(&str, &str)], body: &str| {
        let path = through(product);
        stack
            .order
            .request(Method::POST, &path, headers, Some(body))
            .await
    };
    for headers in [&[][..], &[("authorization", "Bearer wrong")]] {
        post(ODD, headers, &body)
            .await
            .assert_problem(401, "unauthorized");
    }
    let foreign = [token[0], ("origin", "http://elsewhere.example")];
    post(ODD, &foreign, &body)
        .await
        .assert_problem(403, "cross-site-request");
    let made = post(ODD, &token, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["product_id"], ODD);
    let again = post(ODD, &token, &body).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, made.json()));
    post("PROD-001", &token, &body)
        .await
        .assert_problem(422, "delivery-mismatch");
    post("PROD-404", &token, r#"{"quantity":1}"#)
        .await
        .assert_problem(404, "unknown-product");
    let too_much = json!({"quantity": -8}).to_string();
    post(ODD, &token, &too_much)
        .await
        .assert_problem(409, "insufficient-stock");
    let invalid = post(ODD, &token, r#"{"quantity":0}"#).await;
    assert_eq!(
        invalid.assert_problem(400, "invalid-request")["errors"][0]["field"],
        "quantity"
    );
    let large = " ".repeat(17 * 1024);
    post(ODD, &token, &large)
        .await
        .assert_problem(413, "too-large");

    let payment = through("PROD-001").replace("inventory-service", "payment-service");
    let elsewhere = stack
        .order
        .request(Method::POST, &payment, &token, Some(&body))
        .await;
    elsewhere.assert_problem(404, "not-found");
    let read = get(&stack.order, &through("PROD-001"), &token).await;
    read.assert_problem(405, "method-not-allowed");
    // Too little time is left: nothing was done, which `Retry-After` says.
    let session = stack.database.session().await;
    let lock = "BEGIN; SELECT FROM inventory WHERE product_id = 'PROD-002' FOR UPDATE";
    session.batch_execute(lock).await.unwrap();
    let locked = post("PROD-002", &token, r#"{"quantity":1}"#).await;
    assert_eq!(
        (locked.status.as_u16(), locked.header("retry-after")),
        (503, "1"),
        "{locked:?}"
    );
    session.batch_execute("ROLLBACK").await.unwrap();
    stack.inventory.process.kill().await.unwrap();
    let path = through(ODD);
    let dead = stack
        .order
        .request(Method::POST, &path, &token, Some(&body))
        .await;
    dead.assert_problem(502, "service-unreachable");
}

/// The path of a product's deliveries at inventory.
fn deliveries(product: &str) -> String {
    format!("{}/deliveries", valerix::api::product_path(product))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_passed_on_only_to_gremlin_routes() {
    let database = TestDatabase::create().await;
    let behind = Behind::start(EMPTY, false).await;
    let order = start_order_service(database.url(), &[("INVENTORY_SERVICE_URL", &behind.url)]);
    order.wait_until_ready().await;
    let token = [("authorization", "Bearer s3cret")];
    for resource in ["health", "metrics", "gremlin/rules", "gremlin/latency"] {
        let path = format!("/services/inventory-service/{resource}");
        behind.heads.lock().unwrap().clear();
        assert_eq!(get(&order, &path, &token).await.status, 200);
        let heads = behind.heads.lock().unwrap();
        let asked = format!(
            "get {} ",
            path.trim_start_matches("/services/inventory-service")
        );
        let head = heads.iter().find(|head| head.starts_with(&asked)).unwrap();
        assert_eq!(
            head.contains("bearer s3cret"),
            resource.starts_with("gremlin/"),
            "{head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_final_and_complete_response_is_passed_on() {
    let database = TestDatabase::create().await;
    for (response, ends, wanted) in [
        (&b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"[..], false, 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false, 200),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", true, 502),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", true, 502),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false, 200),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", true, 200),
    ] {
        let behind = Behind::start(response, ends).await;
        let order = start_order_service(database.url(), &[("INVENTORY_SERVICE_URL", &behind.url)]);
        order.wait_until_ready().await;
        // Connections are reused, so none may be left with the response to another request.
        for _ in 0..3 {
            let answer = order.get(HEALTH).await;
            let shown = String::from_utf8_lossy(response);
            assert_eq!(answer.status, wanted, "{shown}: {answer:?}");
            if wanted == 502 {
                answer.assert_problem(502, "service-unreachable");
            } else {
                assert_eq!(answer.text, "{}", "{shown}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gremlin_body_that_arrives_too_slowly_is_rejected() {
    let stack = Stack::start().await;
    let mut stream = TcpStream::connect(stack.order.url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let path = "/services/payment-service/gremlin/rules";
    let begun = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer[..read.expect("an answer").unwrap()]).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("too-slow"),
        "{answer}"
    );
}
