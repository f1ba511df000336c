//! Input that nobody well-meaning sends, and clients that take their time.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Service, Stack, TestDatabase, WAIT_TIMEOUT, eventually, free_port};

async fn connect(service: &Service) -> TcpStream {
    TcpStream::connect(service.url.strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

/// Sends bytes, then no more, and returns all that comes back until the connection closes.
async fn raw(service: &Service, bytes: &[u8]) -> String {
    let mut stream = connect(service).await;
    // It may be refused before it is sent whole.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut answer)).await;
    assert!(
        read.is_ok(),
        "no end to {:?}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(100)])
    );
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_nobody_well_meaning_sends_get_a_400_and_leave_no_trace() {
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
        let answer = raw(&stack.order, &post(body, "")).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("problem+json"),
            "{shown}: {answer}"
        );
        assert!(answer.contains("\"trace_id\""), "{answer}");
    }
    let huge = format!(
        r#"{{"product_id":"PROD-001","quantity":1,"more":"{}"}}"#,
        "x".repeat(17_000)
    );
    assert!(
        raw(&stack.order, &post(huge.as_bytes(), ""))
            .await
            .starts_with("HTTP/1.1 413")
    );
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);
    // At the limits, with repeated keys, odd encodings and a content type that lies, it is an order
    // like any other.
    for body in [
        r#"{"product_id":"PROD-001","quantity":1.0}"#,
        r#"{"product_id":"PROD-001","quantity":1,"quantity":2}"#,
        "\n\t {\"product_id\":\"PROD\\u002d001\",\"quantity\":1e0}\r\n",
    ] {
        let answer = raw(
            &stack.order,
            &post(body.as_bytes(), "content-type: image/png\r\n"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{body}: {answer}");
    }
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_hardly_requests_are_turned_away_and_the_service_goes_on() {
    let stack = Stack::start().await;
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").into_bytes()
    };
    let flood = "x-flood: 1\r\n".repeat(300);
    let fat = format!("x-fat: {}\r\n", "x".repeat(300_000));
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("path traversal", get("/static/../Cargo.toml"), &["404"]),
        ("encoded traversal", get("/static/..%2f..%2fetc%2fpasswd"), &["404"]),
        ("traversal in a path parameter", get("/orders/..%2f..%2fetc"), &["404"]),
        ("NUL in the path", get("/orders/%00"), &["404"]),
        ("NUL in the query", get("/orders?product_id=%00"), &["400"]),
        ("a cursor beyond all times", get(&format!("/orders?cursor=-8000000000000000000-{:032}", 0)), &["400"]),
        ("bad percent sign", get("/orders?status=%zz"), &["400"]),
        ("a method of its own", b"BREW /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &["405"]),
        ("a header flood", post(b"{}", &flood), &["400", "431", ""]),
        ("a header that is too long", post(b"{}", &fat), &["400", "431", ""]),
        ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &["400", ""]),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), &["400", ""]),
        ("two lengths", post(b"{}", "content-length: 5\r\n"), &["400"]),
        (
            "length and chunks",
            b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            &["400", ""],
        ),
        (
            "a bad chunk",
            b"POST /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
            &["400", ""],
        ),
        (
            "a body cut short",
            b"POST /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{".to_vec(),
            &["400", ""],
        ),
        ("an idempotency key without end", post(b"{}", &format!("idempotency-key: \"{}\r\n", "k".repeat(300))), &["400"]),
        ("a traceparent that is none", post(br#"{"product_id":"P","quantity":1}"#, "traceparent: 00-zz\r\n"), &["422"]),
    ];
    for (name, bytes, wanted) in cases {
        let answer = raw(&stack.order, &bytes).await;
        let status = answer
            .strip_prefix("HTTP/1.1 ")
            .or(answer.strip_prefix("HTTP/1.0 "))
            .map_or("", |rest| &rest[..3]);
        assert!(wanted.contains(&status), "{name}: {answer}");
    }
    let pipelined = [get("/livez").as_slice(), &get("/nothing")].concat();
    let pipelined = String::from_utf8(pipelined)
        .unwrap()
        .replacen("connection: close\r\n", "", 1);
    let answers = raw(&stack.order, pipelined.as_bytes()).await;
    let (first, second) = (answers.find("HTTP/1.1 200"), answers.find("HTTP/1.1 404"));
    assert!(
        first.is_some() && first < second,
        "each in its turn: {answers}"
    );
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let failed = stack
        .order
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "nothing of this is the service's mistake");
}

/// What port scanners send is no trouble of the service's.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_http_are_not_logged_as_trouble() {
    let stack = Stack::start().await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let cut_off = b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
    let fat = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "x".repeat(300_000)
    );
    let noise: [&[u8]; 8] = [
        hello,
        b"\x00\x01\x02\xff",
        b"SSH-2.0-scanner\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno host\r\n\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\n",
        cut_off,
        fat.as_bytes(),
    ];
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        for bytes in noise {
            raw(service, bytes).await;
        }
        // Lines come in order: once this one is there, so are those before it.
        service.get("/after-the-noise").await;
        let lines = eventually("the last request's line", async || {
            let lines = service.lines();
            lines
                .iter()
                .any(|line| line.contains("unmatched"))
                .then_some(lines)
        })
        .await;
        let trouble = |line: &&String| line.contains("\"ERROR\"") || line.contains("\"WARN\"");
        let trouble: Vec<_> = lines.iter().filter(trouble).collect();
        assert!(trouble.is_empty(), "{trouble:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_or_dribbling_connections_keep_nobody_out() {
    let stack = Stack::start().await;
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
        let answer = stack.place("PROD-001", 1).await;
        assert!(
            answer.status == 201 && answer.took < Duration::from_secs(2),
            "{answer:?}"
        );
    }
    // They are let go: the head of a request has 5 s to arrive.
    let mut dribbling = held.swap_remove(0);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(WAIT_TIMEOUT, dribbling.read_to_end(&mut rest)).await;
    assert!(
        ended.is_ok() && !String::from_utf8_lossy(&rest).contains("HTTP/1.1 2"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn services_behind_can_ask_for_the_token_that_services_share() {
    let stack = Stack::with(&[("SERVICE_TOKEN", "s3cret")]).await;
    assert_eq!(
        stack.place("PROD-001", 1).await.status,
        201,
        "the order service shows it"
    );
    let reserve = json!({"product_id": "PROD-001", "quantity": 1});
    stack
        .inventory
        .post("/inventory/reserve", &reserve)
        .await
        .assert_problem(401, "unauthorized");
    for headers in [
        &[("authorization", "Bearer wrong")][..],
        &[("authorization", "s3cret")],
        &[],
    ] {
        let answer = stack
            .payment
            .request(Method::GET, "/payments/x", headers, None)
            .await;
        answer.assert_problem(401, "unauthorized");
    }
    let shown = [("authorization", "Bearer s3cret")];
    let answer = stack
        .inventory
        .request(
            Method::POST,
            "/inventory/reserve",
            &shown,
            Some(&reserve.to_string()),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for open in [
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/gremlin/rules",
        "/openapi.json",
    ] {
        assert_eq!(
            stack.inventory.get(open).await.status,
            200,
            "{open} is for people and machines without it"
        );
    }
    assert_eq!(stack.order.get("/health").await.json()["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_can_come_from_files() {
    let database = TestDatabase::create().await;
    let folder = std::env::temp_dir();
    let file = |name: &str, text: &str| {
        let path = folder.join(format!("valerix-{name}-{}", std::process::id()));
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let env = [
        ("DATABASE_URL_FILE", file("url", &database.url())),
        ("GREMLIN_TOKEN_FILE", file("gremlin", "s3cret")),
    ];
    let service = Service::start("payment", free_port(), &env);
    service.wait_until_ready().await;
    service
        .get("/gremlin/rules")
        .await
        .assert_problem(401, "unauthorized");
    let allowed = [("authorization", "Bearer s3cret")];
    eventually("the token of the file", async || {
        (service
            .request(Method::GET, "/gremlin/rules", &allowed, None)
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    for (_, path) in env {
        std::fs::remove_file(path).unwrap();
    }
}
