//! Hostile input: malformed bodies and requests, bytes that are not HTTP, and connections that are
//! idle or slow.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{LONG_STEPS, Service, Stack, WAIT_TIMEOUT, eventually};

async fn connect(service: &Service) -> TcpStream {
    TcpStream::connect(service.url.strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

/// Sends bytes, closes the sending side, and returns all bytes that come back.
async fn send_raw(service: &Service, bytes: &[u8]) -> String {
    let mut stream = connect(service).await;
    // The service may reject the request before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut response = Vec::new();
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut response)).await;
    assert!(
        read.is_ok(),
        "the connection stays open after {:?}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(100)])
    );
    String::from_utf8_lossy(&response).into_owned()
}

fn post(body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_get_a_400_and_store_nothing() {
    let stack = Stack::start().await;
    let order = |product: &str, quantity: &str| {
        format!(r#"{{"product_id":{product},"quantity":{quantity}}}"#)
    };
    let one = r#""PROD-001""#;
    let long = format!("\"{}\"", "x".repeat(256));
    let mut bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{".to_vec(),
        b"{}{}".to_vec(),
        b"\xff\xfe{}".to_vec(),
        b"{\"product_id\":\"\xc3\x28\",\"quantity\":1}".to_vec(),
        "[".repeat(15_000).into_bytes(),
        format!("{}1{}", "{\"a\":".repeat(2_000), "}".repeat(2_000)).into_bytes(),
    ];
    for product in [
        r#""""#,
        r#""\u0000""#,
        r#""a\u0000b""#,
        r#""\ud800""#,
        &long,
        "null",
        "1",
        "[]",
        "{}",
    ] {
        bodies.push(order(product, "1").into_bytes());
    }
    for quantity in [
        "0",
        "-1",
        "1001",
        "1.5",
        "1e400",
        "-1e400",
        "9223372036854775808",
        "2147483648",
        "1e-400",
        "\"1\"",
        "true",
        "null",
        "NaN",
        "01",
        "[1]",
    ] {
        bodies.push(order(one, quantity).into_bytes());
    }
    for body in &bodies {
        let response = send_raw(&stack.order, &post(body, "")).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert!(
            response.starts_with("HTTP/1.1 400") && response.contains("problem+json"),
            "{shown}: {response}"
        );
        assert!(response.contains("\"trace_id\""), "{response}");
    }
    let huge = format!(
        r#"{{"product_id":"PROD-001","quantity":1,"more":"{}"}}"#,
        "x".repeat(17_000)
    );
    assert!(
        send_raw(&stack.order, &post(huge.as_bytes(), ""))
            .await
            .starts_with("HTTP/1.1 413")
    );
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);
    // Unusual numbers, repeated keys, escapes, white space and a wrong content type are accepted.
    for body in [
        r#"{"product_id":"PROD-001","quantity":1.0}"#,
        r#"{"product_id":"PROD-001","quantity":1,"quantity":2}"#,
        "\n\t {\"product_id\":\"PROD\\u002d001\",\"quantity\":1e0}\r\n",
    ] {
        let response = send_raw(
            &stack.order,
            &post(body.as_bytes(), "content-type: image/png\r\n"),
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 201"), "{body}: {response}");
    }
    stack.assert_clean_audit().await;
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").into_bytes()
}

/// Malformed requests, each with a description and the statuses that are right for it. The empty
/// status is a connection that is closed without a response.
fn malformed_requests() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let many_headers = "x-flood: 1\r\n".repeat(300);
    let long_header = format!("x-fat: {}\r\n", "x".repeat(300_000));
    let post_with = |headers: &str, body: &str| {
        format!("POST /orders HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}").into_bytes()
    };
    let long_key = format!("idempotency-key: \"{}\r\n", "k".repeat(300));
    vec![
        ("path traversal", get("/static/../Cargo.toml"), &["404"]),
        (
            "encoded traversal",
            get("/static/..%2f..%2fetc%2fpasswd"),
            &["404"],
        ),
        (
            "traversal in a path parameter",
            get("/orders/..%2f..%2fetc"),
            &["404"],
        ),
        ("NUL in the path", get("/orders/%00"), &["404"]),
        ("NUL in the query", get("/orders?product_id=%00"), &["400"]),
        (
            "a cursor with an impossible time",
            get(&format!("/orders?cursor=-8000000000000000000-{:032}", 0)),
            &["400"],
        ),
        ("bad percent sign", get("/orders?status=%zz"), &["400"]),
        (
            "an unknown method",
            b"BREW /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(),
            &["405"],
        ),
        (
            "too many headers",
            post(b"{}", &many_headers),
            &["400", "431", ""],
        ),
        (
            "a header that is too long",
            post(b"{}", &long_header),
            &["400", "431", ""],
        ),
        (
            "not HTTP",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            &["400", ""],
        ),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), &["400", ""]),
        (
            "two lengths",
            post(b"{}", "content-length: 5\r\n"),
            &["400"],
        ),
        (
            "length and chunks",
            post_with(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            &["400", ""],
        ),
        (
            "a bad chunk",
            post_with(
                "connection: close\r\ntransfer-encoding: chunked\r\n",
                "zz\r\n",
            ),
            &["400", ""],
        ),
        (
            "a body cut short",
            post_with("connection: close\r\ncontent-length: 100\r\n", "{"),
            &["400", ""],
        ),
        (
            "an idempotency key without a closing quote",
            post(b"{}", &long_key),
            &["400"],
        ),
        (
            "a malformed traceparent, which is ignored",
            post(
                br#"{"product_id":"P","quantity":1}"#,
                "traceparent: 00-zz\r\n",
            ),
            &["422"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_rejected_and_the_service_keeps_working() {
    let stack = Stack::start().await;
    for (name, bytes, wanted) in malformed_requests() {
        let response = send_raw(&stack.order, &bytes).await;
        let status = response
            .strip_prefix("HTTP/1.1 ")
            .or(response.strip_prefix("HTTP/1.0 "))
            .map_or("", |rest| &rest[..3]);
        assert!(wanted.contains(&status), "{name}: {response}");
    }
    let pipelined = [get("/livez").as_slice(), &get("/nothing")].concat();
    let pipelined = String::from_utf8(pipelined)
        .unwrap()
        .replacen("connection: close\r\n", "", 1);
    let responses = send_raw(&stack.order, pipelined.as_bytes()).await;
    let (first, second) = (
        responses.find("HTTP/1.1 200"),
        responses.find("HTTP/1.1 404"),
    );
    assert!(
        first.is_some() && first < second,
        "answered in the order of the requests: {responses}"
    );
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let failed = stack
        .order
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "a malformed request is not an internal error");
}

/// Port scanners send such bytes.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_http_log_no_warning_and_no_error() {
    let stack = Stack::start().await;
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let cut_off = b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
    let long_header = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "x".repeat(300_000)
    );
    let noise: [&[u8]; 8] = [
        tls_hello,
        b"\x00\x01\x02\xff",
        b"SSH-2.0-scanner\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno host\r\n\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\n",
        cut_off,
        long_header.as_bytes(),
    ];
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        for bytes in noise {
            send_raw(service, bytes).await;
        }
        // The log is in order: with this request's line, all earlier lines are there too.
        service.get("/after-the-noise").await;
        let lines = eventually("the last request's line", async || {
            let lines = service.lines();
            lines
                .iter()
                .any(|line| line.contains("unmatched"))
                .then_some(lines)
        })
        .await;
        let warnings = |line: &&String| line.contains("\"ERROR\"") || line.contains("\"WARN\"");
        let warnings: Vec<_> = lines.iter().filter(warnings).collect();
        assert!(warnings.is_empty(), "{warnings:#?}");
    }
}

/// Neither at once nor by an upgrade. `deny.toml` relies on it.
#[tokio::test(flavor = "multi_thread")]
async fn no_service_speaks_http_2() {
    let stack = Stack::start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let upgrade = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nupgrade: h2c\r\n\
        connection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let response = send_raw(service, preface).await;
        assert!(
            response.is_empty() || response.starts_with("HTTP/1.1 400"),
            "{response}"
        );
        let response = send_raw(service, upgrade).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_or_slow_connections_do_not_block_orders() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let mut held = Vec::new();
    for number in 0..1000 {
        let mut stream = connect(&stack.order).await;
        if number % 2 == 0 {
            stream
                .write_all(b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-le")
                .await
                .unwrap();
        }
        held.push(stream);
    }
    for _ in 0..5 {
        let response = stack.place("PROD-001", 1).await;
        assert!(
            response.status == 201 && response.took < Duration::from_secs(4),
            "{response:?}"
        );
    }
    // The connections are closed, because the head of a request has to arrive within 5 s.
    let mut slow = held.swap_remove(0);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(WAIT_TIMEOUT, slow.read_to_end(&mut rest)).await;
    assert!(
        ended.is_ok() && !String::from_utf8_lossy(&rest).contains("HTTP/1.1 2"),
        "{ended:?}"
    );
}
