//! Message framing: HEAD, HTTP/1.0, and bodies that are announced too large, encoded, or begin with
//! a byte order mark.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::{Service, Stack, WAIT_TIMEOUT};

async fn connect(service: &Service) -> TcpStream {
    TcpStream::connect(service.url.strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

async fn send(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads a response's head up to and including its empty line, in lower case.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    let read = tokio::time::timeout(WAIT_TIMEOUT, reading).await;
    assert!(
        read.is_ok(),
        "the head does not end: {:?}",
        String::from_utf8_lossy(&head)
    );
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Reads until the connection is closed.
async fn read_rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut rest)).await;
    assert!(
        read.is_ok(),
        "the connection stays open after {:?}",
        String::from_utf8_lossy(&rest)
    );
    rest
}

/// Checks that a connection still works, and that no bytes of an earlier body are left on it.
async fn assert_usable(stream: &mut TcpStream, after: &str) {
    send(stream, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let next = read_head(stream).await;
    assert!(
        next.starts_with("http/1.1 200"),
        "after HEAD {after}: {next}"
    );
    let mut body = [0; 3];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"ok\n");
}

/// The paths that can be read, with a value for each parameter.
async fn readable_paths(service: &Service) -> Vec<String> {
    let document = service.get("/openapi.json").await.json();
    let described = document["paths"].as_object().unwrap().iter();
    let readable = described.filter(|(_, operations)| operations["get"].is_object());
    let filled = readable.map(|(path, _)| path.replace("{name}", "app.js").replace(['{', '}'], ""));
    filled
        .chain(
            [
                "/openapi.json",
                "/docs/",
                "/docs/swagger-ui-bundle.js",
                "/nothing",
            ]
            .map(str::to_owned),
        )
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_every_route_ends_and_keeps_its_connection_usable() {
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let paths = readable_paths(service).await;
        assert!(paths.len() > 10, "{paths:?}");
        let mut stream = connect(service).await;
        for path in paths {
            let encodings = if path.starts_with("/static") {
                "accept-encoding: gzip\r\n"
            } else {
                ""
            };
            send(
                &mut stream,
                &format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\n{encodings}\r\n"),
            )
            .await;
            let head = read_head(&mut stream).await;
            let get = service.status(Method::GET, &path).await;
            assert!(
                head.starts_with(&format!("http/1.1 {}", get.as_str())),
                "{path} {get}: {head}"
            );
            assert!(!head.contains("connection: close"), "{path}: {head}");
            assert_usable(&mut stream, &path).await;
        }
    }
    let length = stack.order.get("/openapi.json").await.text.len();
    let answered_head = stack
        .order
        .request(Method::HEAD, "/openapi.json", &[], None)
        .await;
    assert_eq!(
        (
            answered_head.header("content-length"),
            answered_head.text.as_str()
        ),
        (length.to_string().as_str(), "")
    );
}

/// At most 256 streams are open at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn head_requests_to_the_stream_hold_no_permit() {
    let stack = Stack::start().await;
    let mut held = Vec::new();
    for number in 0..300 {
        let mut stream = connect(&stack.order).await;
        send(
            &mut stream,
            "HEAD /orders/stream HTTP/1.1\r\nhost: localhost\r\n\r\n",
        )
        .await;
        let response = read_head(&mut stream).await;
        assert!(
            response.starts_with("http/1.1 200"),
            "request {number}: {response}"
        );
        assert!(response.contains("text/event-stream"), "{response}");
        held.push(stream);
    }
    for stream in &mut held {
        assert_usable(stream, "/orders/stream").await;
    }
    assert_eq!(stack.order.status(Method::GET, "/orders/stream").await, 200);
    // The second request is sent before the first is answered.
    let mut stream = connect(&stack.order).await;
    let both = "HEAD /orders/stream HTTP/1.1\r\nhost: localhost\r\n\r\n\
        HEAD /orders HTTP/1.1\r\nhost: localhost\r\n\r\n";
    send(&mut stream, both).await;
    assert!(read_head(&mut stream).await.contains("text/event-stream"));
    assert!(read_head(&mut stream).await.contains("application/json"));
    assert_usable(&mut stream, "two in a row").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_no_chunks() {
    let stack = Stack::start().await;
    let old = "HTTP/1.0\r\nconnection: keep-alive\r\n";
    let mut stream = connect(&stack.order).await;
    send(
        &mut stream,
        &format!("GET /static/app.js {old}accept-encoding: gzip\r\n\r\n"),
    )
    .await;
    let compressed = read_head(&mut stream).await;
    assert!(
        compressed.contains("content-encoding: gzip"),
        "{compressed}"
    );
    assert!(!compressed.contains("transfer-encoding"), "{compressed}");
    let body = read_rest(&mut stream).await;
    assert_eq!(&body[..2], b"\x1f\x8b", "the body begins as gzip does");

    let mut stream = connect(&stack.order).await;
    send(&mut stream, &format!("GET /orders/stream {old}\r\n")).await;
    let streamed = read_head(&mut stream).await;
    assert!(!streamed.contains("transfer-encoding"), "{streamed}");
    let mut first = [0; 6];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"retry:");

    let calls = json!({"calls": [{"body": {"order_id": Uuid::new_v4()}}]}).to_string();
    let mut stream = connect(&stack.payment).await;
    let length = calls.len();
    send(
        &mut stream,
        &format!("POST /payments/batch {old}content-length: {length}\r\n\r\n{calls}"),
    )
    .await;
    let batch = read_head(&mut stream).await;
    assert!(!batch.contains("transfer-encoding"), "{batch}");
    let line: serde_json::Value = serde_json::from_slice(&read_rest(&mut stream).await).unwrap();
    assert_eq!(line["status"], 201, "{line}");

    // The length of this body is known, so the connection stays open.
    let mut stream = connect(&stack.order).await;
    send(&mut stream, &format!("GET /livez {old}\r\n")).await;
    let kept = read_head(&mut stream).await;
    assert!(
        kept.contains("connection: keep-alive") && kept.contains("content-length: 3"),
        "{kept}"
    );
}

/// Routes that read a body, with its maximal length in bytes.
const BODIES: [(&str, &str, usize); 5] = [
    ("order", "/orders", 16 * 1024),
    ("order", "/gremlin/rules", 16 * 1024),
    (
        "order",
        "/services/inventory-service/gremlin/rules",
        16 * 1024,
    ),
    ("inventory", "/inventory/reserve", 16 * 1024),
    ("payment", "/payments/batch", 256 * 1024),
];

fn service<'a>(stack: &'a Stack, role: &str) -> &'a Service {
    match role {
        "order" => &stack.order,
        "inventory" => &stack.inventory,
        _ => &stack.payment,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_too_large_is_rejected_before_it_is_sent() {
    let stack = Stack::start().await;
    // With a rule for one product, the gremlin reads the bodies of requests.
    let rule = json!({"kind": "latency", "delay_ms": 1, "product_id": "PROD-003"});
    for read_by_gremlin in [false, true] {
        for (role, path, limit) in BODIES {
            let mut stream = connect(service(&stack, role)).await;
            let length = limit + 1;
            let start = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{{"
            );
            send(&mut stream, &start).await;
            // The rest is never sent.
            let rejected = read_head(&mut stream).await;
            let wanted = if read_by_gremlin && path.ends_with("/batch") {
                "409"
            } else {
                "413"
            };
            assert!(
                rejected.starts_with(&format!("http/1.1 {wanted}")),
                "{path}: {rejected}"
            );
            assert!(
                rejected.contains("application/problem+json"),
                "{path}: {rejected}"
            );
        }
        for service in [&stack.order, &stack.inventory, &stack.payment] {
            assert_eq!(service.post("/gremlin/rules", &rule).await.status, 201);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_body_is_rejected_with_unsupported_content_encoding() {
    let stack = Stack::start().await;
    for (role, path, _) in BODIES {
        for encoding in ["gzip", "br", "x-unheard-of", "identity, gzip"] {
            let headers = [("content-encoding", encoding)];
            let response = service(&stack, role)
                .request(Method::POST, path, &headers, Some("{}"))
                .await;
            response.assert_problem(415, "unsupported-content-encoding");
            assert_eq!(response.header("accept-encoding"), "identity");
        }
    }
    let order = json!({"product_id": "PROD-001", "quantity": 1}).to_string();
    let plain = [("content-encoding", "identity")];
    assert_eq!(
        stack
            .order
            .request(Method::POST, "/orders", &plain, Some(&order))
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_before_a_body_is_ignored() {
    let stack = Stack::start().await;
    let order = "\u{feff}{\"product_id\":\"PROD-001\",\"quantity\":1}";
    assert_eq!(
        stack
            .order
            .request(Method::POST, "/orders", &[], Some(order))
            .await
            .status,
        201
    );
    let calls = json!({"calls": [{"body": {"order_id": Uuid::new_v4()}}]});
    let batch = format!("\u{feff}{calls}");
    assert_eq!(
        stack
            .payment
            .request(Method::POST, "/payments/batch", &[], Some(&batch))
            .await
            .status,
        200
    );
    // The gremlin finds the product in such a body too.
    let rule = json!({"kind": "error", "status": 418, "product_id": "PROD-001"});
    assert_eq!(stack.order.post("/gremlin/rules", &rule).await.status, 201);
    assert_eq!(
        stack
            .order
            .request(Method::POST, "/orders", &[], Some(order))
            .await
            .status,
        418
    );
    let twice = format!("\u{feff}{order}");
    stack
        .order
        .request(Method::POST, "/orders", &[], Some(&twice))
        .await
        .assert_problem(400, "malformed-json");
}
