//! HTTP behaviour of every service: problem documents, methods, metrics, traces, the gremlin's
//! switch, tokens, CORS and shutdown.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{LONG_STEPS, Service, Stack, eventually};

fn address(service: &Service) -> &str {
    service.url.strip_prefix("http://").unwrap()
}

/// Replaces the parameters of a path by the examples of the OpenAPI document, or by `x`.
fn with_examples(path: &str, operations: &Value) -> String {
    let parameters = operations
        .as_object()
        .unwrap()
        .values()
        .flat_map(|operation| {
            operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        });
    let in_path = parameters.filter(|parameter| parameter["in"] == "path");
    in_path.fold(path.to_owned(), |path, parameter| {
        let example = parameter["example"].as_str().unwrap_or("x");
        path.replace(
            &format!("{{{}}}", parameter["name"].as_str().unwrap()),
            example,
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_describes_exactly_the_routes_that_are_served() {
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let document = service.get("/openapi.json").await.json();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() >= 5, "{document}");
        for (path, operations) in paths {
            let described: BTreeSet<String> = operations
                .as_object()
                .unwrap()
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            let concrete = with_examples(path, operations);
            // No route has PATCH. The 405 lists the methods of this path.
            let rejected = service.request(Method::PATCH, &concrete, &[], None).await;
            rejected.assert_problem(405, "method-not-allowed");
            let served: BTreeSet<String> = rejected
                .header("allow")
                .split(", ")
                .map(str::to_owned)
                .collect();
            let mut wanted = described.clone();
            if described.contains("GET") {
                wanted.insert("HEAD".to_owned());
            }
            assert_eq!(served, wanted, "{path}");
            for method in &described {
                let status = service.status(method.parse().unwrap(), &concrete).await;
                assert_ne!(status, 405, "{method} {path}");
                let documented = &operations[method.to_lowercase()]["responses"];
                assert!(
                    documented[status.as_str()].is_object() || status == 404,
                    "{method} {path} {status}"
                );
            }
        }
        assert_eq!(service.get("/docs/").await.status, 200);
        service
            .get("/no/such/thing")
            .await
            .assert_problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_repeated_query_parameters_are_rejected_with_a_400_that_names_them() {
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let document = service.get("/openapi.json").await.json();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let concrete = with_examples(path, operations);
            for (method, operation) in operations.as_object().unwrap() {
                let method: Method = method.to_uppercase().parse().unwrap();
                let unknown = format!("{concrete}?no-such=1&no-such=2");
                let rejected = service.request(method.clone(), &unknown, &[], None).await;
                let problem = rejected.assert_problem(400, "invalid-request");
                assert_eq!(
                    problem["errors"].as_array().unwrap().len(),
                    1,
                    "{method} {path}: {problem}"
                );
                assert_eq!(problem["errors"][0]["field"], "no-such", "{method} {path}");
                for known in operation["parameters"].as_array().into_iter().flatten() {
                    if known["in"] != "query" {
                        continue;
                    }
                    let name = known["name"].as_str().unwrap();
                    let twice = format!("{concrete}?{name}=1&{name}=1");
                    let problem = service.request(method.clone(), &twice, &[], None).await;
                    let problem = problem.assert_problem(400, "invalid-request");
                    assert_eq!(problem["errors"][0]["field"], name, "{method} {path}");
                    assert!(
                        problem["errors"][0]["detail"]
                            .as_str()
                            .unwrap()
                            .contains("more than once")
                    );
                }
            }
        }
        for undescribed in ["/openapi.json?x=1", "/docs/?x=1", "/docs?x=1"] {
            service
                .get(undescribed)
                .await
                .assert_problem(400, "invalid-request");
        }
        service
            .get("/nothing?x=1")
            .await
            .assert_problem(404, "not-found");
        service
            .request(Method::PATCH, "/health?x=1", &[], None)
            .await
            .assert_problem(405, "method-not-allowed");
        assert_eq!(service.get("/livez?").await.status, 200);
    }
    let problem = stack.order.get("/orders?state=FAILED&page=2&limit=5").await;
    let problem = problem.assert_problem(400, "invalid-request");
    let named = |index: usize| {
        problem["errors"][index]["field"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (named(0), named(1)),
        ("state".to_owned(), "page".to_owned()),
        "{problem}"
    );
    assert_eq!(
        stack
            .order
            .get("/orders?status=FAILED&limit=5")
            .await
            .status,
        200
    );
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_compressed_and_overlapping_routes_are_problem_documents() {
    let stack = Stack::start().await;
    let gzip = [("accept-encoding", "gzip")];
    let missing = stack
        .order
        .request(Method::GET, "/static/nothing", &gzip, None)
        .await;
    missing.assert_problem(404, "not-found");
    assert!(
        missing.headers.get("content-encoding").is_none(),
        "{missing:?}"
    );
    let rejected = stack.payment.get("/payments/void").await;
    rejected.assert_problem(405, "method-not-allowed");
    assert_eq!(rejected.header("allow"), "POST");
    stack
        .payment
        .get("/payments/nothing")
        .await
        .assert_problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_like_get_without_a_body() {
    let stack = Stack::start().await;
    let (get, head) = (
        stack.order.get("/health").await,
        stack
            .order
            .request(Method::HEAD, "/health", &[], None)
            .await,
    );
    assert_eq!(
        (get.status, get.header("content-type")),
        (head.status, head.header("content-type"))
    );
    assert_eq!(head.text, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_labels_of_the_contract_and_a_bounded_number_of_series() {
    let stack = Stack::start().await;
    stack.place("PROD-001", 1).await;
    for n in 0..50 {
        stack.order.get(&format!("/random/{n}")).await;
        stack
            .order
            .get(&format!("/orders/00000000-0000-0000-0000-0000000000{n:02}"))
            .await;
    }
    let unknown = Method::from_bytes(b"BREW").unwrap();
    stack
        .order
        .request(unknown, "/orders", &[], None)
        .await
        .assert_problem(405, "method-not-allowed");
    let metrics = stack.order.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let find = |line: &str| {
        let found = metrics.text.lines().find(|text| text.starts_with(line));
        found
            .unwrap_or_else(|| panic!("no {line} in\n{}", metrics.text))
            .rsplit_once(' ')
            .unwrap()
            .1
            .to_owned()
    };
    let series = |method, path, status| {
        format!(
            "http_requests_total{{method=\"{method}\",path=\"{path}\",\
             service=\"order-service\",status_code=\"{status}\"}}"
        )
    };
    assert_eq!(find(&series("POST", "/orders", 201)), "1");
    assert_eq!(find(&series("GET", "unmatched", 404)), "50");
    assert_eq!(find(&series("GET", "/orders/{id}", 404)), "50");
    assert_eq!(find(&series("OTHER", "/orders", 405)), "1");
    for bound in [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2", "2.5", "5", "10", "+Inf",
    ] {
        let labels =
            format!(r#"{{method="POST",path="/orders",service="order-service",le="{bound}"}}"#);
        find(&format!("http_request_duration_seconds_bucket{labels}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_services_log_the_trace_id_of_the_request() {
    let stack = Stack::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let body = r#"{"product_id":"PROD-001","quantity":1}"#;
    let response = stack
        .order
        .request(
            Method::POST,
            "/orders",
            &[("traceparent", &parent)],
            Some(body),
        )
        .await;
    assert_eq!(
        (response.header("x-trace-id"), &response.json()["trace_id"]),
        (trace, &json!(trace))
    );
    let id = response.json()["id"].as_str().unwrap().to_owned();
    for (service, name, route) in [
        (&stack.order, "order-service", "/orders"),
        (&stack.inventory, "inventory-service", "/inventory/reserve"),
        (&stack.payment, "payment-service", "/payments"),
    ] {
        let line: Value = eventually("the request's log line", async || {
            let lines = service.lines();
            let parsed = lines
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            parsed
                .into_iter()
                .find(|line| line["message"] == "request" && line["route"] == route)
        })
        .await;
        assert_eq!(
            (&line["trace_id"], &line["service"], &line["order_id"]),
            (&json!(trace), &json!(name), &json!(id))
        );
        assert!(
            line["span_id"].is_string()
                && line["duration_ms"].is_number()
                && line["status"].is_number(),
            "{line}"
        );
    }
    for malformed in ["", "00-0-0-00", "zz", &"0".repeat(1000)] {
        let response = stack
            .order
            .request(Method::GET, "/health", &[("traceparent", malformed)], None)
            .await;
        assert_eq!(
            (
                response.status.as_u16(),
                response.header("x-trace-id").len()
            ),
            (200, 32)
        );
    }
}

/// The lines of these requests would hide the others.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_pages_and_probes_repeat_are_not_logged_at_info() {
    let stack = Stack::start().await;
    let of_order = [
        "/",
        "/static/app.js",
        "/dashboard.json",
        "/story.json",
        "/sla",
        "/sla/history",
        "/audit",
        "/services/inventory-service/health",
        "/services/inventory-service/gremlin/rules",
        "/health",
        "/metrics",
        "/livez",
    ];
    let of_inventory = ["/inventory", "/gremlin/latency", "/gremlin/rules"];
    // The answer has no end.
    let stream = reqwest::get(format!("{}/orders/stream", stack.order.url));
    assert_eq!(stream.await.unwrap().status(), 200);
    for (service, repeated, path, route) in [
        (&stack.order, &of_order[..], "/orders", "/orders"),
        (
            &stack.inventory,
            &of_inventory,
            "/inventory/PROD-001",
            "/inventory/{product_id}",
        ),
    ] {
        for path in repeated {
            assert_eq!(service.get(path).await.status, 200, "{path}");
        }
        assert_eq!(service.get(path).await.status, 200);
        let routes = eventually("the last request's log line", async || {
            let lines = service.lines();
            let lines = lines.iter();
            let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let requests = lines.filter(|line| line["message"] == "request");
            let routes: Vec<_> = requests.map(|line| line["route"].clone()).collect();
            routes.contains(&json!(route)).then_some(routes)
        })
        .await;
        assert_eq!(routes, [route]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latency_switch_delays_all_routes_except_probes_metrics_and_itself() {
    const DELAY: Duration = Duration::from_secs(3);
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        service.set_latency(true, 3000).await;
        for path in ["/gremlin/latency", "/metrics", "/livez", "/readyz"] {
            let response = service.get(path).await;
            assert!(response.took < DELAY, "{path} took {:?}", response.took);
        }
        let (health, nothing) = tokio::join!(service.get("/health"), service.get("/nothing"));
        for response in [health, nothing] {
            assert!(response.took >= DELAY, "{response:?}");
        }
        assert_eq!(
            service.get("/gremlin/latency").await.json(),
            json!({"enabled": true, "delay_ms": 3000})
        );
        for (body, field) in [
            (json!({}), "enabled"),
            (json!({"enabled": "yes"}), "enabled"),
            (json!({"enabled": true, "delay_ms": -1}), "delay_ms"),
            (json!({"enabled": true, "delay_ms": 60_001}), "delay_ms"),
        ] {
            let problem = service
                .post("/gremlin/latency", &body)
                .await
                .assert_problem(400, "invalid-request");
            assert_eq!(problem["errors"][0]["field"], field);
        }
        assert_eq!(
            service.get("/gremlin/latency").await.json(),
            json!({"enabled": true, "delay_ms": 3000})
        );
        service.set_latency(false, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gremlin_can_require_a_token_or_be_disabled() {
    let with_token = Stack::with(&[("GREMLIN_TOKEN", "s3cret")]).await;
    let body = r#"{"enabled":true}"#;
    for headers in [
        &[][..],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "s3cret")],
    ] {
        let response = with_token
            .order
            .request(Method::POST, "/gremlin/latency", headers, Some(body))
            .await;
        response.assert_problem(401, "unauthorized");
    }
    let allowed = [("authorization", "Bearer s3cret")];
    let response = with_token
        .order
        .request(Method::GET, "/gremlin/latency", &allowed, None)
        .await;
    assert_eq!(response.json()["enabled"], false);
    let without = Stack::with(&[("GREMLIN_ENABLED", "false")]).await;
    without
        .order
        .request(Method::POST, "/gremlin/latency", &[], Some(body))
        .await
        .assert_problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_and_payment_require_the_service_token_when_it_is_set() {
    let stack = Stack::with(&[("SERVICE_TOKEN", "s3cret")]).await;
    assert_eq!(
        stack.place("PROD-001", 1).await.status,
        201,
        "the order service sends the token"
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
        let response = stack
            .payment
            .request(Method::GET, "/payments/x", headers, None)
            .await;
        response.assert_problem(401, "unauthorized");
    }
    let with_token = [("authorization", "Bearer s3cret")];
    let response = stack
        .inventory
        .request(
            Method::POST,
            "/inventory/reserve",
            &with_token,
            Some(&reserve.to_string()),
        )
        .await;
    assert_eq!(response.status, 200, "{response:?}");
    for path in [
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/gremlin/rules",
        "/openapi.json",
    ] {
        assert_eq!(
            stack.inventory.get(path).await.status,
            200,
            "{path} needs no token"
        );
    }
    assert_eq!(stack.order.get("/health").await.json()["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_origins_get_a_cors_header() {
    let stack = Stack::with(&[("CORS_ALLOWED_ORIGINS", "http://shop.example")]).await;
    let from = async |origin| {
        stack
            .inventory
            .request(Method::GET, "/inventory", &[("origin", origin)], None)
            .await
    };
    assert_eq!(
        from("http://shop.example")
            .await
            .header("access-control-allow-origin"),
        "http://shop.example"
    );
    let other = from("http://evil.example").await;
    assert!(
        other.headers.get("access-control-allow-origin").is_none(),
        "{other:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_in_time_gets_a_408() {
    let stack = Stack::start().await;
    let mut stream = TcpStream::connect(address(&stack.order)).await.unwrap();
    stream
        .write_all(
            b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"prod",
        )
        .await
        .unwrap();
    let mut response = vec![0; 1024];
    let started = Instant::now();
    let length = stream.read(&mut response).await.unwrap();
    let response = String::from_utf8_lossy(&response[..length]).into_owned();
    assert!(
        response.starts_with("HTTP/1.1 408") && response.contains("problem+json"),
        "{response}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_service_finishes_requests_in_progress_and_exits_with_0() {
    let mut stack = Stack::with(&[LONG_STEPS]).await;
    stack.inventory.set_latency(true, 1000).await;
    let order = &stack.order;
    let in_flight = async {
        let body = json!({"product_id": "PROD-001", "quantity": 1});
        order.post("/orders", &body).await
    };
    let stop = async {
        let arrived = "SELECT count(*) FROM orders";
        eventually("the order to be in progress", async || {
            (stack.database.count(arrived).await == 1).then_some(())
        })
        .await;
        order.process.signal(Signal::SIGTERM);
    };
    let (response, ()) = tokio::join!(in_flight, stop);
    assert_eq!(response.status, 201, "{response:?}");
    for service in [&mut stack.order, &mut stack.inventory, &mut stack.payment] {
        let started = Instant::now();
        assert_eq!(
            service.process.stop().await.unwrap().code(),
            Some(0),
            "{:#?}",
            service.lines()
        );
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_stops_when_its_supervisor_has_ended() {
    let stack = Stack::start().await;
    let pid = stack.payment.process.pid();
    drop(stack.payment);
    eventually("the process to end", async || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z")).then_some(())
    })
    .await;
}
