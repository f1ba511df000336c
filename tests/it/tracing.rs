//! Traces that a collector receives from three real processes, over OTLP by gRPC and by HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use tonic::{Request, Response, Status};

use crate::harness::{LONG_STEPS, Service, Stack, TestDatabase, eventually, free_port};

/// A span, and the name of the service that sent it.
#[derive(Debug, Clone)]
struct Received {
    service: String,
    span: Span,
}

impl Received {
    fn attribute(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }

    fn kind(&self) -> SpanKind {
        SpanKind::try_from(self.span.kind).unwrap()
    }
}

/// The value of an attribute, as text.
fn text(
    attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue],
    key: &str,
) -> Option<String> {
    let value = attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .clone()?
        .value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    })
}

/// An OpenTelemetry collector that keeps all spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Received>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn keep(&self, request: ExportTraceServiceRequest) {
        for resource in request.resource_spans {
            let service = text(&resource.resource.unwrap().attributes, "service.name").unwrap();
            let spans = resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            let received = spans.map(|span| Received {
                service: service.clone(),
                span,
            });
            self.0.lock().unwrap().extend(received);
        }
    }

    fn start() -> (Self, String) {
        let collector = Self::default();
        let address = format!("127.0.0.1:{}", free_port());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve(address.parse().unwrap()));
        (collector, address)
    }

    fn of_trace(&self, trace_id: &str) -> Vec<Received> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|received| hex(&received.span.trace_id) == trace_id)
            .cloned()
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Spans are exported every 200 ms instead of every 5 s.
const SHORT_DELAY: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "200");

/// Starts the services with traces for a collector.
async fn start_traced(collector: &str, extra: &[(&'static str, &str)]) -> Stack {
    Stack::with(
        &[
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", collector), SHORT_DELAY],
            extra,
        ]
        .concat(),
    )
    .await
}

fn find<'a>(spans: &'a [Received], service: &str, name: &str) -> Option<&'a Received> {
    spans
        .iter()
        .find(|received| received.service == service && received.span.name == name)
}

/// A trace as indented text, which `--nocapture` shows.
fn tree(spans: &[Received], parent: &[u8], depth: usize) -> String {
    let mut children: Vec<_> = spans
        .iter()
        .filter(|received| received.span.parent_span_id == parent)
        .collect();
    children.sort_by_key(|received| received.span.start_time_unix_nano);
    let lines = children.into_iter().map(|received| {
        let span = &received.span;
        let took = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
        let error = received
            .attribute("error.type")
            .map(|error| format!("  ✗ {error}"))
            .unwrap_or_default();
        let links = span
            .links
            .iter()
            .map(|link| hex(&link.trace_id))
            .collect::<Vec<_>>()
            .join(" ");
        let links = if links.is_empty() {
            links
        } else {
            format!("  ↗ {links}")
        };
        let line = format!(
            "{:depth$}{} [{}] {took:.1?}{error}{links}\n",
            "", span.name, received.service
        );
        line + &tree(spans, &span.span_id, depth + 2)
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_through_three_services_and_their_sql() {
    let (collector, address) = Collector::start();
    let stack = start_traced(&address, &[]).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
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
    assert_eq!(response.header("x-trace-id"), trace);
    let spans = eventually("the whole trace", async || {
        let spans = collector.of_trace(trace);
        let roots = [
            ("order-service", "POST /orders"),
            ("inventory-service", "POST /inventory/reserve"),
            ("payment-service", "POST /payments"),
        ];
        roots
            .iter()
            .all(|(service, name)| {
                spans.iter().any(|r| {
                    r.service == *service && r.span.name == *name && r.kind() == SpanKind::Server
                })
            })
            .then_some(spans)
    })
    .await;
    let by_id: HashMap<_, _> = spans
        .iter()
        .map(|received| (received.span.span_id.clone(), received))
        .collect();
    let server = |service: &str, name: &str| {
        let of_kind = spans.iter().filter(|r| r.kind() == SpanKind::Server);
        of_kind
            .into_iter()
            .find(|r| r.service == service && r.span.name == name)
            .unwrap()
    };
    let order = server("order-service", "POST /orders");
    assert_eq!(hex(&order.span.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(
        order.attribute("http.response.status_code").as_deref(),
        Some("201")
    );
    assert_eq!(order.attribute("http.route").as_deref(), Some("/orders"));
    for (service, name) in [
        ("inventory-service", "POST /inventory/reserve"),
        ("payment-service", "POST /payments"),
    ] {
        let call = by_id[&server(service, name).span.parent_span_id];
        assert_eq!(
            (call.service.as_str(), call.kind(), call.span.name.as_str()),
            ("order-service", SpanKind::Client, name)
        );
        assert_eq!(call.span.parent_span_id, order.span.span_id);
        assert_eq!(call.attribute("peer.service").as_deref(), Some(service));
    }
    for (service, statement, parent) in [
        ("order-service", "UPDATE orders", order),
        (
            "inventory-service",
            "UPDATE inventory",
            server("inventory-service", "POST /inventory/reserve"),
        ),
        (
            "payment-service",
            "INSERT payments",
            server("payment-service", "POST /payments"),
        ),
    ] {
        let sql = find(&spans, service, statement)
            .unwrap_or_else(|| panic!("no {statement}: {spans:#?}"));
        assert_eq!(
            (sql.kind(), &sql.span.parent_span_id),
            (SpanKind::Client, &parent.span.span_id)
        );
        assert_eq!(
            sql.attribute("db.system.name").as_deref(),
            Some("postgresql")
        );
        let text = sql.attribute("db.query.text").unwrap();
        assert!(
            !text.contains("PROD-001") && !text.contains("binds"),
            "the values of a statement must not be exported: {text}"
        );
    }
    assert!(
        spans.iter().all(|received| received
            .span
            .status
            .as_ref()
            .is_none_or(|status| status.code != 2)),
        "{spans:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_request_batch_belongs_to_the_trace_of_its_order() {
    let (collector, address) = Collector::start();
    let stack = start_traced(&address, &[]).await;
    assert_eq!(stack.place("PROD-001", 1).await.status, 201);
    let orders = stack
        .run_together(join_all((0..10).map(|_| stack.place("PROD-001", 1))))
        .await;
    assert!(
        stack.order.metric("valerix_request_batch_size_count").await > 0.0,
        "no batch was sent"
    );
    for order in orders {
        let trace = order.header("x-trace-id");
        let (client, server) = eventually("both spans of the call", async || {
            let spans = collector.of_trace(trace);
            let of_kind = |kind| {
                let mut named = spans
                    .iter()
                    .filter(|r| r.span.name == "POST /inventory/reserve");
                named.find(|r| r.kind() == kind).cloned()
            };
            of_kind(SpanKind::Client).zip(of_kind(SpanKind::Server))
        })
        .await;
        assert_eq!(
            (client.service.as_str(), server.service.as_str()),
            ("order-service", "inventory-service")
        );
        assert_eq!(server.span.parent_span_id, client.span.span_id);
        assert_eq!(
            server.attribute("http.response.status_code").as_deref(),
            Some("200")
        );
        assert_eq!(
            server.attribute("order_id").as_deref(),
            order.json()["id"].as_str()
        );
    }
    let all = collector.0.lock().unwrap();
    assert!(
        all.iter().all(|r| !r.span.name.ends_with("/batch")),
        "the batch itself has no span"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_attempt_has_its_own_trace_with_a_link_to_the_order() {
    let (collector, address) = Collector::start();
    let stack = start_traced(
        &format!("http://{address}"),
        &[("DOWNSTREAM_TIMEOUT_MS", "400")],
    )
    .await;
    stack.inventory.set_latency(true, 30_000).await;
    let order = stack.place("PROD-001", 1).await;
    let placed = order.json()["trace_id"].as_str().unwrap().to_owned();
    let call = eventually("the failed call", async || {
        find(
            &collector.of_trace(&placed),
            "order-service",
            "POST /inventory/reserve",
        )
        .cloned()
    })
    .await;
    assert_eq!(call.span.status.as_ref().map(|status| status.code), Some(2));
    assert_eq!(
        call.attribute("error.type").as_deref(),
        Some("no response in time")
    );
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    let recovered = eventually("the trace of the recovery attempt", async || {
        let all = collector.0.lock().unwrap().clone();
        all.into_iter().find(|received| {
            let links = received
                .span
                .links
                .iter()
                .any(|link| hex(&link.trace_id) == placed);
            received.span.name == "recover order" && links
        })
    })
    .await;
    assert_ne!(hex(&recovered.span.trace_id), placed);
    println!("{placed}\n{}", tree(&collector.of_trace(&placed), &[], 2));
    let recovery = hex(&recovered.span.trace_id);
    println!(
        "{recovery}\n{}",
        tree(&collector.of_trace(&recovery), &[], 2)
    );
    assert!(
        recovered.span.parent_span_id.is_empty(),
        "the span is a root"
    );
    assert_eq!(
        recovered.attribute("order_id").as_deref(),
        order.json()["id"].as_str()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sampler_is_configured_by_the_standard_variables() {
    let (collector, address) = Collector::start();
    let stack = start_traced(
        &address,
        &[
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ],
    )
    .await;
    let unsampled = stack
        .place("PROD-001", 1)
        .await
        .header("x-trace-id")
        .to_owned();
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    stack
        .order
        .request(Method::GET, "/orders", &[("traceparent", sampled)], None)
        .await;
    eventually("the trace whose parent is sampled", async || {
        (!collector
            .of_trace("0af7651916cd43dd8448eb211c80319c")
            .is_empty())
        .then_some(())
    })
    .await;
    assert!(
        collector.of_trace(&unsampled).is_empty(),
        "with a ratio of 0, only traces with a sampled parent are exported"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_or_does_not_run_delays_no_order_and_no_stop() {
    // The first collector accepts connections and never answers.
    let unresponsive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = unresponsive.local_addr().unwrap().to_string();
    let absent = format!("127.0.0.1:{}", free_port());
    for endpoint in [hanging, absent] {
        let mut stack = start_traced(&endpoint, &[LONG_STEPS]).await;
        for _ in 0..20 {
            let order = stack.place("PROD-001", 1).await;
            assert_eq!(order.status, 201);
            // An export that nobody answers takes 10 s.
            assert!(order.took < Duration::from_secs(5), "{:?}", order.took);
        }
        // A process that has not ended after 8 s is killed, and has no exit code.
        assert_eq!(stack.order.process.stop().await.unwrap().code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buffered_spans_are_exported_at_shutdown() {
    let (collector, address) = Collector::start();
    let mut stack = Stack::with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ])
    .await;
    let trace = stack
        .place("PROD-001", 1)
        .await
        .header("x-trace-id")
        .to_owned();
    assert!(collector.of_trace(&trace).is_empty());
    assert_eq!(stack.order.process.stop().await.unwrap().code(), Some(0));
    assert!(find(&collector.of_trace(&trace), "order-service", "POST /orders").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_exported_only_as_a_part_of_another_trace() {
    let (collector, address) = Collector::start();
    let mut stack = start_traced(&address, &[]).await;
    for route in ["/livez", "/readyz", "/health", "/metrics"] {
        let probe = stack.order.get(route).await;
        assert_eq!(probe.header("x-trace-id").len(), 32, "{route}");
    }
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    stack
        .order
        .request(Method::GET, "/health", &[("traceparent", sampled)], None)
        .await;
    stack.place("PROD-001", 1).await;
    for service in [&mut stack.order, &mut stack.inventory, &mut stack.payment] {
        assert_eq!(service.process.stop().await.unwrap().code(), Some(0));
    }
    let spans = collector.0.lock().unwrap().clone();
    assert!(find(&spans, "payment-service", "POST /payments").is_some());
    let probes: Vec<_> = spans
        .iter()
        .filter(|received| {
            let route = received.attribute("http.route").unwrap_or_default();
            ["/livez", "/readyz", "/health", "/metrics"].contains(&route.as_str())
        })
        .map(|probe| (probe.span.name.as_str(), hex(&probe.span.trace_id)))
        .collect();
    let of_caller = ("GET /health", "0af7651916cd43dd8448eb211c80319c".to_owned());
    assert!(
        !probes.is_empty() && probes.iter().all(|probe| *probe == of_caller),
        "{probes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_have_a_trace_id_although_nothing_is_logged() {
    let stack = Stack::with(&[("RUST_LOG", "off")]).await;
    assert_eq!(
        stack.order.get("/livez").await.header("x-trace-id").len(),
        32
    );
    stack
        .order
        .get("/nothing")
        .await
        .assert_problem(404, "not-found");
    assert_eq!(stack.order.lines(), Vec::<String>::new());
}

/// Starts an inventory service, and returns the service name of its spans.
async fn name_in_traces(
    collector: &Collector,
    address: &str,
    extra: &[(&'static str, &str)],
) -> String {
    let database = TestDatabase::create().await;
    let mut env = vec![
        ("DATABASE_URL", database.url()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.to_owned()),
        (SHORT_DELAY.0, SHORT_DELAY.1.to_owned()),
    ];
    env.extend(
        extra
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let service = Service::start("inventory", free_port(), &env);
    service.wait_until_ready().await;
    let trace = service
        .get("/inventory")
        .await
        .header("x-trace-id")
        .to_owned();
    eventually(&format!("spans: {:#?}", service.lines()), async || {
        Some(collector.of_trace(&trace).first()?.service.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_name_follows_the_rules_of_opentelemetry() {
    let (collector, address) = Collector::start();
    for (extra, name) in [
        (&[("OTEL_SERVICE_NAME", "")][..], "inventory-service"),
        (
            &[(
                "OTEL_RESOURCE_ATTRIBUTES",
                "team=a,service.name=shop%20stock",
            )],
            "shop stock",
        ),
        (
            &[
                ("OTEL_SERVICE_NAME", "stock"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x"),
            ],
            "stock",
        ),
        (&[("OTEL_SDK_DISABLED", "")], "inventory-service"),
        (&[("OTEL_SDK_DISABLED", "maybe")], "inventory-service"),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], "inventory-service"),
    ] {
        assert_eq!(
            name_in_traces(&collector, &address, extra).await,
            name,
            "{extra:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_of_none_exports_nothing_and_an_unknown_boolean_is_a_warning() {
    let (collector, address) = Collector::start();
    let extra = [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "maybe"),
    ];
    let mut stack = start_traced(&address, &extra).await;
    stack.place("PROD-001", 1).await;
    let warning = "OTEL_SDK_DISABLED is 'maybe', which counts as false";
    stack.order.wait_for_line(warning).await;
    let lines = stack.order.lines();
    let warnings = lines.iter().filter(|line| line.contains(warning));
    assert_eq!(warnings.count(), 1);
    // A service exports its remaining spans before it stops.
    assert_eq!(stack.order.process.stop().await.unwrap().code(), Some(0));
    assert!(collector.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tracestate_is_propagated_to_all_services_and_exported() {
    let (collector, address) = Collector::start();
    let stack = start_traced(&address, &[]).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let headers = [
        ("traceparent", &*format!("00-{trace}-b7ad6b7169203331-01")),
        ("tracestate", "vendor=a:1,other=2"),
    ];
    let body = r#"{"product_id":"PROD-001","quantity":1}"#;
    let response = stack
        .order
        .request(Method::POST, "/orders", &headers, Some(body))
        .await;
    assert_eq!(response.status, 201);
    eventually("the trace", async || {
        let spans = collector.of_trace(trace);
        let of = |service: &str| spans.iter().find(|received| received.service == service);
        let states = ["order-service", "inventory-service", "payment-service"]
            .map(|service| Some(of(service)?.span.trace_state.clone()));
        states
            .iter()
            .all(|state| state.as_deref() == Some("vendor=a:1,other=2"))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_exported_over_grpc_with_tls_to_a_collector_with_the_given_certificate() {
    let collector = Collector::default();
    let port = free_port();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let tls = tonic::transport::ServerTlsConfig::new()
        .identity(tonic::transport::Identity::from_pem(&pem, key));
    let mut server = tonic::transport::Server::builder().tls_config(tls).unwrap();
    let server = server.add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(server.serve(format!("127.0.0.1:{port}").parse().unwrap()));
    let file = std::env::temp_dir().join(format!("valerix-collector-{port}.pem"));
    std::fs::write(&file, &pem).unwrap();
    let extra = [("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap())];
    let name = name_in_traces(&collector, &format!("https://localhost:{port}"), &extra).await;
    assert_eq!(name, "inventory-service");
    std::fs::remove_file(&file).unwrap();
}

/// Starts a collector for OTLP over HTTP, with TLS if it gets a configuration for it. It handles
/// one connection after the other.
fn start_http_collector(
    listener: std::net::TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Collector {
    let collector = Collector::default();
    let server = collector.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.unwrap();
            // The loop over requests ends with an error when the client closes its connection.
            let _ = match &tls {
                Some(tls) => {
                    let session = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                    server.handle_requests(rustls::StreamOwned::new(session, connection))
                }
                None => server.handle_requests(connection),
            };
        }
    });
    collector
}

impl Collector {
    /// Handles the requests of a connection until it is closed.
    fn handle_requests(
        &self,
        mut connection: impl std::io::Read + std::io::Write,
    ) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        loop {
            connection.read_exact(&mut byte)?;
            head.push(byte[0]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut head))
                .unwrap()
                .to_lowercase();
            assert!(text.starts_with("post /v1/traces http/1.1\r\n"), "{text}");
            let length = text
                .split("content-length: ")
                .nth(1)
                .unwrap()
                .split("\r\n")
                .next()
                .unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            connection.read_exact(&mut body)?;
            let request = <ExportTraceServiceRequest as prost::Message>::decode(&*body).unwrap();
            self.keep(request);
            connection.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 0\r\n\r\n",
            )?;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_exported_over_http_with_and_without_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certified.cert.der().clone()], key)
    .unwrap();
    for (scheme, tls) in [("http", None), ("https", Some(Arc::new(tls)))] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = start_http_collector(listener, tls);
        let file = std::env::temp_dir().join(format!("valerix-collector-{port}.pem"));
        std::fs::write(&file, certified.cert.pem()).unwrap();
        let extra = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap()),
        ];
        let address = format!("{scheme}://localhost:{port}");
        assert_eq!(
            name_in_traces(&collector, &address, &extra).await,
            "inventory-service",
            "{scheme}"
        );
        std::fs::remove_file(&file).unwrap();
    }
}
