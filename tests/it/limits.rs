//! Limits for each client: headers, connections, time, and memory for responses that it does not
//! read.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use valerix::testbed::process::{Output, Process, ProcessSpec};

use crate::harness::{
    LONG_STEPS, PROGRAM, Service, Stack, TestDatabase, WAIT_TIMEOUT, eventually, free_port,
};

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

/// Returns all that comes back until the service closes the connection.
async fn read_rest(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut response)).await;
    // A reset after the response counts as an end too: the service has stopped reading.
    assert!(
        read.is_ok(),
        "the connection stays open after {:?}",
        String::from_utf8_lossy(&response)
    );
    String::from_utf8_lossy(&response).into_owned()
}

/// Sends a request with these headers, and returns the response.
async fn send_with_headers(service: &Service, headers: &str) -> String {
    let mut stream = connect(&service.url).await;
    let request =
        format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n");
    // The service may reject the request before all of it is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    read_rest(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_over_a_limit_of_number_or_size_are_rejected() {
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        // With `host` and `connection`, 94 headers make the limit of 96.
        let many = |count: usize| {
            (0..count)
                .map(|n| format!("x-{n}: 1\r\n"))
                .collect::<Vec<_>>()
                .concat()
        };
        assert!(
            send_with_headers(service, &many(94))
                .await
                .starts_with("HTTP/1.1 200")
        );
        let too_many = send_with_headers(service, &many(95)).await;
        assert!(too_many.starts_with("HTTP/1.1 431"), "{too_many}");
        let long = |length: usize| format!("x: {}\r\n", "y".repeat(length));
        assert!(
            send_with_headers(service, &long(100_000))
                .await
                .starts_with("HTTP/1.1 200")
        );
        let too_long = send_with_headers(service, &long(200_000)).await;
        // The client still sends, so the close of the connection can discard the response.
        assert!(
            too_long.is_empty() || too_long.starts_with("HTTP/1.1 4"),
            "{too_long}"
        );
        assert_eq!(service.get("/livez").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_bodies_do_not_block_orders_and_get_a_408() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let mut held = Vec::new();
    for _ in 0..1000 {
        let mut stream = connect(&stack.order.url).await;
        let start =
            b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60\r\n\r\n{\"prod";
        stream.write_all(start).await.unwrap();
        held.push(stream);
    }
    let send_slowly = async {
        loop {
            for stream in &mut held {
                let _ = stream.write_all(b" ").await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let customers = async {
        for _ in 0..5 {
            let response = stack.place("PROD-001", 1).await;
            assert!(
                response.status == 201 && response.took < Duration::from_secs(4),
                "{response:?}"
            );
        }
    };
    tokio::select! { () = send_slowly => {}, () = customers => {} }
    for stream in &mut held {
        let response = read_rest(stream).await;
        assert!(
            response.starts_with("HTTP/1.1 408") && response.contains("problem+json"),
            "{response}"
        );
    }
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
}

/// The resident memory of a process.
fn resident_mib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_the_client_does_not_read_are_not_produced() {
    let stack = Stack::start().await;
    let order = &stack.order;
    let length = order.get("/openapi.json").await.text.len();
    let before = resident_mib(order.process.pid());
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(10_000);
    let request = Arc::new(request);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (mut stream, request) = (connect(&order.url).await, Arc::clone(&request));
        clients.push(tokio::spawn(async move {
            // The client reads nothing, so at some point the service stops reading too.
            let sent =
                tokio::time::timeout(Duration::from_secs(3), stream.write_all(&request)).await;
            (stream, sent.is_ok())
        }));
    }
    for task in clients {
        drop(task.await.unwrap());
    }
    let grown = resident_mib(order.process.pid()).saturating_sub(before);
    // All responses together would take gigabytes.
    assert!(
        grown < 64,
        "{grown} MiB more after 200,000 requests for {length} bytes each"
    );
    // The service may still be busy with the requests that it had read.
    eventually("an order to be confirmed", async || {
        (stack.place("PROD-001", 1).await.status == 201).then_some(())
    })
    .await;
}

/// Starts a service on one processor, so that one thread serves all connections, with one limit.
fn start_on_one_processor(role: &str, port: u16, database: &TestDatabase) -> Process {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap()
        .trim();
    let first = allowed.split([',', '-']).next().unwrap();
    let environment = [("PORT", port.to_string()), ("DATABASE_URL", database.url())];
    let spec = ProcessSpec {
        program: "taskset".into(),
        arguments: ["--cpu-list", first, PROGRAM, role]
            .map(str::to_owned)
            .into(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        output: Output::Lines(Arc::new(|_| {})),
    };
    Process::start(&spec).unwrap()
}

async fn send_request(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
}

async fn assert_answered(stream: &mut TcpStream) {
    let mut response = [0; 12];
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_exact(&mut response)).await;
    read.expect("a response").unwrap();
    assert_eq!(&response, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_wait_until_others_are_closed() {
    const LIMIT: usize = 4096;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let database = TestDatabase::create().await;
    let port = free_port();
    let process = start_on_one_processor("payment", port, &database);
    let url = format!("http://127.0.0.1:{port}");
    eventually("the service to listen", async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", process.pid()))
            .unwrap()
            .count()
    };
    let unconnected = descriptors();

    let mut held = Vec::new();
    while held.len() < LIMIT {
        let mut stream = connect(&url).await;
        send_request(&mut stream).await;
        assert_answered(&mut stream).await;
        held.push(stream);
    }
    let mut late = connect(&url).await;
    send_request(&mut late).await;
    let answered = tokio::time::timeout(Duration::from_secs(1), late.readable()).await;
    assert!(
        answered.is_err(),
        "more than {LIMIT} connections are served"
    );
    let used = descriptors();
    assert!(
        used <= unconnected + LIMIT + 16,
        "{used} descriptors, {unconnected} without connections"
    );
    held.truncate(LIMIT / 2);
    assert_answered(&mut late).await;
}

/// The memory of a process after it has read all that was sent to it: it has not grown for half a
/// second.
async fn settled_mib(pid: i32) -> u64 {
    const SAMPLES: u32 = 10;
    let (mut largest, mut unchanged) = (resident_mib(pid), 0);
    while unchanged < SAMPLES {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = resident_mib(pid);
        unchanged = if now > largest { 0 } else { unchanged + 1 };
        largest = largest.max(now);
    }
    largest
}

/// For each limit, the number of connections times the bytes of each must fit into the container,
/// which has 128 MiB in docker-compose.yml.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_requests_fit_into_the_memory_of_the_container_and_do_not_block_others() {
    const CONTAINER_MIB: u64 = 128;
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "y".repeat(100_000)
    );
    let batch = format!(
        "POST /inventory/reserve/batch HTTP/1.1\r\nhost: localhost\r\n\
         content-length: 262000\r\n\r\n{}",
        " ".repeat(200_000)
    );
    let second_head = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n{head}");
    for (request, connections) in [(head, 1000), (batch, 600), (second_head, 2000)] {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = connect(&inventory.url).await;
            // The service may close a connection before all of the request is sent.
            let _ = stream.write_all(request.as_bytes()).await;
            streams.push(stream);
        }
        let used = settled_mib(inventory.process.pid()).await;
        assert!(
            used < CONTAINER_MIB,
            "{used} MiB for {connections} requests of {} bytes",
            request.len()
        );
        assert_eq!(inventory.get("/inventory/PROD-001").await.status, 200);
    }
    // A slow machine still closes the connections, so that the first attempt may get no answer.
    let order_id = stack.place("PROD-001", 1).await.order_id();
    stack.wait_until_settled().await;
    assert_eq!(stack.order.order(&order_id).await["status"], "CONFIRMED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_next_head_does_not_end_is_closed() {
    let stack = Stack::start().await;
    let first = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut later = connect(&stack.order.url).await;
    send_request(&mut later).await;
    assert_answered(&mut later).await;
    later.write_all(b"GET /livez HT").await.unwrap();
    let mut together = connect(&stack.order.url).await;
    together
        .write_all(format!("{first}{}", "G".repeat(50_000)).as_bytes())
        .await
        .unwrap();
    let (later, together) = tokio::join!(read_rest(&mut later), read_rest(&mut together));
    assert!(!later.contains("HTTP/1.1"), "{later}");
    assert!(together.starts_with("HTTP/1.1 200"), "{together}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_enough_descriptors_for_the_database() {
    const DESCRIPTORS: usize = 512;
    let database = TestDatabase::create().await;
    let port = free_port();
    let environment = [("PORT", port.to_string()), ("DATABASE_URL", database.url())];
    let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let spec = ProcessSpec {
        program: "prlimit".into(),
        arguments: [&limit, PROGRAM, "payment"].map(str::to_owned).into(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        output: Output::Lines(Arc::new(|_| {})),
    };
    let _process = Process::start(&spec).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    eventually("the service to be ready", async || {
        let ready = reqwest::get(format!("{url}/readyz")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    let mut first = connect(&url).await;
    // A connection without a request would be closed after 5 s.
    send_request(&mut first).await;
    assert_answered(&mut first).await;
    // With its sessions ended, the service has to open new ones while clients hold all descriptors
    // that it gives to connections.
    let sessions =
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database
        .execute(&format!("SELECT pg_terminate_backend(pid) {sessions}"))
        .await;
    let left = format!("SELECT count(*) {sessions}");
    eventually("the sessions to end", async || {
        (database.count(&left).await == 0).then_some(())
    })
    .await;
    // Opens as many connections as the service serves. The last one is not served.
    let mut idle = Vec::new();
    while idle.len() < DESCRIPTORS {
        let mut stream = connect(&url).await;
        send_request(&mut stream).await;
        let served = tokio::time::timeout(Duration::from_secs(1), stream.readable())
            .await
            .is_ok();
        idle.push(stream);
        if !served {
            break;
        }
    }
    let order = "{\"order_id\":\"0d5c4a44-0f9b-4a52-9f0e-7a4a6f2e4a11\"}";
    let charge = format!(
        "POST /payments HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{order}",
        order.len()
    );
    let charged = async {
        let mut response = Vec::new();
        let mut buffer = [0; 4096];
        first.write_all(charge.as_bytes()).await.unwrap();
        while !String::from_utf8_lossy(&response).contains("created_at") {
            let read = first.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&response));
            response.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(response).unwrap()
    };
    let response = tokio::time::timeout(WAIT_TIMEOUT, charged).await.unwrap();
    assert!(
        response.contains("HTTP/1.1 201") || response.contains("HTTP/1.1 402"),
        "{response}"
    );
}
