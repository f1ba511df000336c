//! Orders that are rejected because of an overload.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Stack, WAIT_TIMEOUT, eventually};

/// Orders that a process works on at a time.
const LIMIT: usize = 512;
const EXCESS: usize = 88;
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_rejects_an_order_unparsed_counts_it_and_leaves_its_connection_open() {
    let stack = Stack::start().await;
    // No order can be stored while the lock is held, so all permits are soon taken.
    let locker = stack.database.session().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let is_over = AtomicBool::new(false);
    let clients = join_all((0..LIMIT + EXCESS).map(|_| async {
        while !is_over.load(Ordering::Relaxed) {
            let response = stack.place("PROD-001", 1).await;
            if response.json()["code"] == "overloaded" {
                // The load must not take the processor from the orders in progress.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }));
    let check = async {
        let shed = "valerix_requests_shed_total";
        eventually("an order to be rejected", async || {
            (stack.order.metric(shed).await > 0.0).then_some(())
        })
        .await;
        let rejected = rejected_twice_on_one_connection(&stack.order.url);
        let response = tokio::time::timeout(WAIT_TIMEOUT, rejected).await;
        is_over.store(true, Ordering::Relaxed);
        response.expect("two rejections before the bodies are parsed")
    };
    let (_, response) = tokio::join!(clients, check);
    locker.batch_execute("ROLLBACK").await.unwrap();
    let head = response.to_lowercase();
    assert!(head.starts_with("http/1.1 503"), "{response}");
    assert!(head.contains("retry-after: 1\r\n"), "{response}");
    assert!(
        head.contains(&format!("x-trace-id: {TRACE_ID}\r\n")),
        "{response}"
    );
    assert!(
        response.contains(&format!("\"trace_id\":\"{TRACE_ID}\"")),
        "{response}"
    );
    let shed = stack.order.metric("valerix_requests_shed_total").await;
    let counted = "http_requests_total{method=\"POST\",path=\"/orders\",\
        service=\"order-service\",status_code=\"503\"}";
    assert!(stack.order.metric(counted).await >= shed);
}

/// Sends orders on one connection until the overload has rejected two of them. Returns the last
/// response. The orders have no product: if their bodies were parsed first, they would all get 400.
async fn rejected_twice_on_one_connection(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = r#"{"quantity":1}"#;
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         traceparent: 00-{TRACE_ID}-b7ad6b7169203331-00\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut rejected = 0;
    loop {
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read_response(&mut stream).await;
        rejected += usize::from(response.contains("\"code\":\"overloaded\""));
        if rejected == 2 {
            return response;
        }
    }
}

/// Reads one response, whose body ends its JSON object.
async fn read_response(stream: &mut TcpStream) -> String {
    let (mut response, mut buffer) = (String::new(), [0; 4096]);
    while !response.ends_with('}') {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the connection was closed after {response:?}");
        response.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    response
}
