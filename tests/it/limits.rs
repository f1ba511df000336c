//! How much one client may take: headers, connections, time, and memory for answers that nobody
//! reads.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use valerix::testbed::supervisor::{Process, Spec};

use crate::harness::{PROGRAM, Service, Stack, TestDatabase, WAIT_TIMEOUT, eventually, free_port};

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

/// All that comes back until the service ends the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut answer)).await;
    // A reset after the answer is an end too: the service does not read on.
    assert!(
        read.is_ok(),
        "no end after {:?}",
        String::from_utf8_lossy(&answer)
    );
    String::from_utf8_lossy(&answer).into_owned()
}

async fn with_headers(service: &Service, headers: &str) -> String {
    let mut stream = connect(&service.url).await;
    let request =
        format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n");
    // It may be refused before it is sent whole.
    let _ = stream.write_all(request.as_bytes()).await;
    rest(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_limited_in_number_and_size_and_what_is_below_is_served() {
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        // With `host` and `connection`, 96 in all.
        let many = |count: usize| {
            (0..count)
                .map(|n| format!("x-{n}: 1\r\n"))
                .collect::<Vec<_>>()
                .concat()
        };
        assert!(
            with_headers(service, &many(94))
                .await
                .starts_with("HTTP/1.1 200")
        );
        let flood = with_headers(service, &many(95)).await;
        assert!(flood.starts_with("HTTP/1.1 431"), "{flood}");
        let long = |length: usize| format!("x: {}\r\n", "y".repeat(length));
        assert!(
            with_headers(service, &long(100_000))
                .await
                .starts_with("HTTP/1.1 200")
        );
        let fat = with_headers(service, &long(200_000)).await;
        // While the client still sends, the end of the connection may take the answer with it.
        assert!(fat.is_empty() || fat.starts_with("HTTP/1.1 4"), "{fat}");
        assert_eq!(service.get("/livez").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bodies_that_dribble_keep_nobody_out_and_are_given_up() {
    let stack = Stack::start().await;
    let mut held = Vec::new();
    for _ in 0..1000 {
        let mut stream = connect(&stack.order.url).await;
        let begun =
            b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60\r\n\r\n{\"prod";
        stream.write_all(begun).await.unwrap();
        held.push(stream);
    }
    let dribble = async {
        loop {
            for stream in &mut held {
                let _ = stream.write_all(b" ").await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let customers = async {
        for _ in 0..5 {
            let answer = stack.place("PROD-001", 1).await;
            assert!(
                answer.status == 201 && answer.took < Duration::from_secs(2),
                "{answer:?}"
            );
        }
    };
    tokio::select! { () = dribble => {}, () = customers => {} }
    for stream in &mut held {
        let answer = rest(stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains("problem+json"),
            "{answer}"
        );
    }
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
}

fn resident_mib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_not_made() {
    let stack = Stack::start().await;
    let order = &stack.order;
    let length = order.get("/openapi.json").await.text.len();
    let before = resident_mib(order.process.pid());
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(10_000);
    let request = Arc::new(request);
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let (mut stream, request) = (connect(&order.url).await, Arc::clone(&request));
        greedy.push(tokio::spawn(async move {
            // Nothing is read: at some point the service takes no more.
            let sent =
                tokio::time::timeout(Duration::from_secs(3), stream.write_all(&request)).await;
            (stream, sent.is_ok())
        }));
    }
    for task in greedy {
        drop(task.await.unwrap());
    }
    let grown = resident_mib(order.process.pid()).saturating_sub(before);
    // All answers would be gigabytes.
    assert!(
        grown < 64,
        "{grown} MiB more after 200,000 requests for {length} bytes each"
    );
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
}

/// On one processor, whatever the machine has: then one thread answers, with one limit.
fn on_one_processor(role: &str, port: u16, database: &TestDatabase) -> Process {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap()
        .trim();
    let first = allowed.split([',', '-']).next().unwrap();
    let environment = [("PORT", port.to_string()), ("DATABASE_URL", database.url())];
    let spec = Spec {
        program: "taskset".into(),
        arguments: ["--cpu-list", first, PROGRAM, role]
            .map(str::to_owned)
            .into(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        output: Arc::new(|_| {}),
    };
    Process::start(&spec).unwrap()
}

async fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
}

async fn is_answered(stream: &mut TcpStream) {
    let mut answer = [0; 12];
    let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_exact(&mut answer)).await;
    read.expect("an answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_until_others_have_gone() {
    const LIMIT: usize = 4096;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let database = TestDatabase::create().await;
    let port = free_port();
    let process = on_one_processor("payment", port, &database);
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
        ask(&mut stream).await;
        is_answered(&mut stream).await;
        held.push(stream);
    }
    let mut late = connect(&url).await;
    ask(&mut late).await;
    let answered = tokio::time::timeout(Duration::from_secs(1), late.readable()).await;
    assert!(
        answered.is_err(),
        "one more than {LIMIT} connections is served"
    );
    let used = descriptors();
    assert!(
        used <= unconnected + LIMIT + 16,
        "{used} descriptors, {unconnected} before any connection"
    );
    held.truncate(LIMIT / 2);
    is_answered(&mut late).await;
}

/// The memory that a process has once it has read what was sent to it: for half a second it takes
/// no more.
async fn settled_mib(pid: i32) -> u64 {
    const SAMPLES: u32 = 10;
    let (mut most, mut same) = (resident_mib(pid), 0);
    while same < SAMPLES {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = resident_mib(pid);
        same = if now > most { 0 } else { same + 1 };
        most = most.max(now);
    }
    most
}

/// What each limit allows, times what it may hold, has to fit the container: 128 MiB in
/// docker-compose.yml.
#[tokio::test(flavor = "multi_thread")]
async fn requests_without_an_end_fit_into_the_container_and_keep_nobody_out() {
    const CONTAINER_MIB: u64 = 128;
    let stack = Stack::start().await;
    let inventory = &stack.inventory;
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "y".repeat(100_000)
    );
    let bundle = format!(
        "POST /inventory/reserve/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: 262000\r\n\r\n{}",
        " ".repeat(200_000)
    );
    let begun = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n{head}");
    for (request, connections) in [(head, 1000), (bundle, 600), (begun, 2000)] {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = connect(&inventory.url).await;
            // One that holds too much is closed, maybe before it has sent all.
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
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_head_that_does_not_end_is_given_up() {
    let stack = Stack::start().await;
    let first = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut later = connect(&stack.order.url).await;
    ask(&mut later).await;
    is_answered(&mut later).await;
    later.write_all(b"GET /livez HT").await.unwrap();
    let mut together = connect(&stack.order.url).await;
    together
        .write_all(format!("{first}{}", "G".repeat(50_000)).as_bytes())
        .await
        .unwrap();
    let (later, together) = tokio::join!(rest(&mut later), rest(&mut together));
    assert!(!later.contains("HTTP/1.1"), "{later}");
    assert!(together.starts_with("HTTP/1.1 200"), "{together}");
}

/// With few descriptors, connections leave enough of them to the database.
#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_descriptors_to_the_database() {
    const DESCRIPTORS: usize = 512;
    let database = TestDatabase::create().await;
    let port = free_port();
    let environment = [("PORT", port.to_string()), ("DATABASE_URL", database.url())];
    let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let spec = Spec {
        program: "prlimit".into(),
        arguments: [&limit, PROGRAM, "payment"].map(str::to_owned).into(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        output: Arc::new(|_| {}),
    };
    let _process = Process::start(&spec).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    eventually("the service to be ready", async || {
        let ready = reqwest::get(format!("{url}/readyz")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    let mut first = connect(&url).await;
    // It has to open new ones once all descriptors that it gives to connections are taken.
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
    // As many connections as it serves; one more waits.
    let mut idle = Vec::new();
    while idle.len() < DESCRIPTORS {
        let mut stream = connect(&url).await;
        ask(&mut stream).await;
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
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        first.write_all(charge.as_bytes()).await.unwrap();
        while !String::from_utf8_lossy(&answer).contains("created_at") {
            let read = first.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(WAIT_TIMEOUT, charged).await.unwrap();
    assert!(
        answer.contains("HTTP/1.1 201") || answer.contains("HTTP/1.1 402"),
        "{answer}"
    );
}
