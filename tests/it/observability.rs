//! Metrics, dashboard and alerts: a real Prometheus scrapes real services, and every panel and
//! alert must have data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::harness::{Service, Stack, WAIT_TIMEOUT, eventually, free_port};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A Prometheus with the project's configuration and rules, but with the test's addresses, and five
/// times as fast.
struct Prometheus {
    url: String,
    http: reqwest::Client,
    process: Child,
    directory: PathBuf,
}

impl Prometheus {
    async fn start(stack: &Stack) -> Self {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let directory =
            std::env::temp_dir().join(format!("valerix-prometheus-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, Self::configuration(stack, &address)).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Prometheus is installed by scripts/install-prometheus");
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(WAIT_TIMEOUT)
            .build()
            .unwrap();
        let this = Self {
            url: format!("http://{address}"),
            http,
            process,
            directory,
        };
        eventually("Prometheus to be ready", async || {
            let response = this
                .http
                .get(format!("{}/-/ready", this.url))
                .send()
                .await
                .ok()?;
            response.status().is_success().then_some(())
        })
        .await;
        this
    }

    fn configuration(stack: &Stack, address: &str) -> String {
        let address_of = |service: &Service| service.url.trim_start_matches("http://").to_owned();
        let changes = [
            ("order-service:5001", address_of(&stack.order)),
            ("inventory-service:5002", address_of(&stack.inventory)),
            ("payment-service:5003", address_of(&stack.payment)),
            ("otel-collector:8888", address.to_owned()),
            ("localhost:9090", address.to_owned()),
            ("scrape_interval: 5s", "scrape_interval: 1s".to_owned()),
            ("scrape_timeout: 4s", "scrape_timeout: 1s".to_owned()),
            (
                "evaluation_interval: 5s",
                "evaluation_interval: 1s".to_owned(),
            ),
            (
                "rules/*.yml",
                project("infra/prometheus/rules/*.yml")
                    .display()
                    .to_string(),
            ),
        ];
        changes.iter().fold(
            read("infra/prometheus/prometheus.yml"),
            |config, (there, here)| {
                assert!(config.contains(there), "no {there} in prometheus.yml");
                config.replace(there, here)
            },
        )
    }

    async fn api(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = self
            .http
            .get(format!("{}/api/v1/{path}", self.url))
            .query(query);
        let response: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(response["status"], "success", "{query:?}: {response}");
        response["data"].clone()
    }

    /// The current values of an expression, one for each set of labels.
    async fn query(&self, expression: &str) -> Vec<f64> {
        let data = self.api("query", &[("query", expression)]).await;
        let samples = data["result"].as_array().unwrap().clone();
        samples
            .iter()
            .map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// The values of a label of the series that an expression selects now.
    async fn labels(&self, expression: &str, label: &str) -> BTreeSet<String> {
        let data = self.api("query", &[("query", expression)]).await;
        let metrics = each(&data, "result").map(|sample| &sample["metric"]);
        metrics
            .map(|metric| metric[label].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Waits until an expression has values, and all of them satisfy the condition.
    async fn eventually(&self, expression: &str, wanted: impl Fn(f64) -> bool) {
        eventually(expression, async || {
            let values = self.query(expression).await;
            (!values.is_empty() && values.iter().all(|value| wanted(*value))).then_some(())
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.start_kill();
        while matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/dashboards/valerix-overview.json")).unwrap()
}

/// The elements of an array member; none if there is no such member.
fn each<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[member].as_array().into_iter().flatten()
}

/// Every expression that the dashboard sends to Prometheus, with its panel's title. Grafana's
/// variables are replaced by values.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let targets = each(dashboard, "panels")
        .flat_map(|panel| each(panel, "targets").map(move |target| (&panel["title"], target)));
    let expressions: Vec<_> = targets
        .filter(|(_, target)| target["datasource"]["uid"] == "prometheus")
        .map(|(title, target)| {
            let expression = target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "30s");
            assert!(
                !expression.contains('$'),
                "this test does not know the variable: {expression}"
            );
            (title.as_str().unwrap().to_owned(), expression)
        })
        .collect();
    assert!(expressions.len() > 20, "only {}", expressions.len());
    expressions
}

fn sla_light(dashboard: &Value) -> String {
    expressions(dashboard)
        .into_iter()
        .find(|(title, _)| title == "SLA traffic light")
        .unwrap()
        .1
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_data_and_latency_turns_the_traffic_light_red() {
    let dashboard = dashboard();
    let light = sla_light(&dashboard);
    let mut stack = Stack::start().await;
    let prometheus = Prometheus::start(&stack).await;

    // There are no orders yet.
    prometheus
        .eventually(&light, |seconds| seconds == 0.0)
        .await;

    // A rate needs two scrapes.
    for round in 1..=2 {
        for _ in 0..5 {
            assert_eq!(stack.place("PROD-001", 1).await.status, 201);
        }
        let seen =
            r#"http_requests_total{service="order-service",path="/orders",status_code="201"}"#;
        prometheus
            .eventually(seen, |count| count >= f64::from(5 * round))
            .await;
    }
    prometheus
        .eventually(&light, |seconds| seconds > 0.0 && seconds < 1.0)
        .await;
    let failures = r#"sum(rate(http_requests_total{status_code=~"5.."}[30s])) or vector(0)"#;
    prometheus.eventually(failures, |rate| rate == 0.0).await;

    // Inventory refuses connections, so calls are retried and recovery has an order to finish.
    stack.inventory.process.kill().await.unwrap();
    assert_eq!(stack.place("PROD-001", 1).await.status, 202);
    prometheus
        .eventually(r#"up{service="inventory-service"}"#, |up| up == 0.0)
        .await;
    stack.restart_inventory(&[]).await;
    stack.wait_until_settled().await;

    stack.inventory.set_latency(true, 3000).await;
    for annotation in each(&dashboard["annotations"], "list") {
        prometheus
            .eventually(annotation["expr"].as_str().unwrap(), |changes| {
                changes > 0.0
            })
            .await;
    }
    for response in join_all((0..40).map(|_| stack.place("PROD-001", 1))).await {
        assert_eq!(response.status, 202, "{response:?}");
    }
    prometheus.eventually(&light, |seconds| seconds > 1.0).await;
    let alert = r#"ALERTS{alertname="OrderSlaBreached",alertstate="firing"}"#;
    prometheus.eventually(alert, |firing| firing > 0.0).await;
    stack.inventory.set_latency(false, 0).await;

    for (title, expression) in expressions(&dashboard) {
        prometheus
            .eventually(&format!("({expression}) # {title}"), |value| {
                !value.is_nan()
            })
            .await;
        if expression.contains("by (service") {
            let what = format!("one series for each service: {title}");
            eventually(&what, async || {
                (prometheus.query(&expression).await.len() == 3).then_some(())
            })
            .await;
        }
    }
    for group in each(&prometheus.api("rules", &[]).await, "groups") {
        for rule in each(group, "rules") {
            assert_ne!(rule["health"], "err", "{rule}");
        }
    }
    stack.wait_until_settled().await;
    let delivery = json!({"quantity": 1});
    stack
        .inventory
        .post("/inventory/PROD-001/deliveries", &delivery)
        .await;
    assert_eq!(exported(&stack).await, documented());
}

/// The expression of the dashboard that contains this text.
fn expression_with(text: &str) -> String {
    let expressions = expressions(&dashboard()).into_iter();
    let mut with = expressions.filter(|(_, expression)| expression.contains(text));
    let (_, expression) = with.next().unwrap_or_else(|| panic!("no panel has {text}"));
    expression
}

#[tokio::test(flavor = "multi_thread")]
async fn panels_show_what_operators_did_and_the_alert_names_each_obligation_that_is_stuck() {
    let stack = Stack::with(&[("RECOVERY_BOUND_SECONDS", "2")]).await;
    let prometheus = Prometheus::start(&stack).await;
    let act = async |action: &str| {
        let id = stack.confirmed("PROD-001", 1).await;
        stack.order.act(action, &id).await.status.as_u16()
    };
    // A rate needs two scrapes after the series was added.
    for total in 1..=2 {
        assert_eq!((act("cancel").await, act("fulfil").await), (200, 200));
        let delivered = stack.deliver("PROD-002", &json!({"quantity": 1})).await;
        assert_eq!(delivered.status, 201);
        let count = r#"valerix_order_transitions_total{reason="fulfilled"} and on()
            valerix_order_transitions_total{reason="cancelled"} and on()
            valerix_deliveries_total{outcome="delivered"}"#;
        prometheus
            .eventually(count, |seen| seen >= f64::from(total))
            .await;
    }
    for (series, label, shown) in [
        (
            "valerix_order_transitions_total{reason=~",
            "reason",
            &["cancelled", "fulfilled"][..],
        ),
        ("valerix_deliveries_total", "outcome", &["delivered"]),
    ] {
        let rates = format!("({}) > 0", expression_with(series));
        let shown = shown.iter().copied().map(str::to_owned).collect();
        eventually(&rates, async || {
            (prometheus.labels(&rates, label).await == shown).then_some(())
        })
        .await;
    }

    for (service, route) in [
        (&stack.payment, "/payments/void"),
        (&stack.inventory, "/inventory/release"),
        (&stack.inventory, "/inventory/ship"),
    ] {
        let rule = json!({"kind": "error", "status": 500, "route": route});
        service.add_gremlin_rule(rule).await;
    }
    assert_eq!((act("cancel").await, act("fulfil").await), (200, 202));
    let panel = expression_with("valerix_orders_stuck");
    let all: BTreeSet<_> = ["refund", "release", "shipment"].map(str::to_owned).into();
    for expression in [
        format!("({panel}) == 1"),
        r#"ALERTS{alertname="ObligationsStuck"}"#.to_owned(),
    ] {
        eventually(&expression, async || {
            (prometheus.labels(&expression, "owes").await == all).then_some(())
        })
        .await;
    }
}

/// For each metric, its type and its labels.
type Series = BTreeMap<String, (String, BTreeSet<String>)>;

/// The metrics that the three services export.
async fn exported(stack: &Stack) -> Series {
    let mut series = Series::new();
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let text = service.get("/metrics").await.text;
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                series
                    .entry(name.to_owned())
                    .or_insert_with(|| (kind.to_owned(), BTreeSet::new()));
            } else if let Some((name, labels)) = line.split_once('{') {
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| {
                        name.strip_suffix(suffix)
                            .filter(|name| series.contains_key(*name))
                    })
                    .unwrap_or(name);
                let mut parts: Vec<_> = labels.split("=\"").collect();
                parts.pop();
                let labels = parts
                    .iter()
                    .filter_map(|part| part.rsplit(',').next())
                    .filter(|name| *name != "le");
                series
                    .get_mut(name)
                    .unwrap()
                    .1
                    .extend(labels.map(str::to_owned));
            }
        }
    }
    series
}

/// The metrics in the table of docs/metrics.md.
fn documented() -> Series {
    let text = read("docs/metrics.md");
    let rows = text
        .lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|cells| cells.len() == 8 && cells[1].starts_with('`'))
        .map(|cells| {
            let labels = cells[3]
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            (
                cells[1].trim_matches('`').to_owned(),
                (cells[2].to_owned(), labels),
            )
        })
        .collect()
}

#[test]
fn the_dashboard_begins_with_four_required_panels_and_uses_provisioned_sources() {
    let dashboard = dashboard();
    assert_eq!(
        (&dashboard["title"], &dashboard["refresh"]),
        (&"Valerix overview".into(), &"5s".into())
    );
    let titles: Vec<_> = each(&dashboard, "panels")
        .filter_map(|panel| panel["title"].as_str())
        .collect();
    assert_eq!(
        titles[..4],
        [
            "SLA traffic light",
            "Request rate",
            "Error rate",
            "Latency percentiles"
        ]
    );
    let sources = read("grafana/provisioning/datasources/valerix.yml");
    for panel in each(&dashboard, "panels") {
        for source in each(panel, "targets")
            .map(|target| &target["datasource"])
            .chain([&panel["datasource"]])
        {
            let uid = format!("uid: {}\n", source["uid"].as_str().unwrap());
            assert!(sources.contains(&uid), "{}: no {uid}", panel["title"]);
        }
    }
    // The traffic light and the alert use the same expression.
    let rules = read("infra/prometheus/rules/sla.yml")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let light = sla_light(&dashboard);
    let average = light
        .strip_prefix('(')
        .and_then(|light| light.strip_suffix(") or vector(0)"))
        .unwrap();
    assert!(rules.contains(average), "{average}");
}

async fn run(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(program)
        .args(arguments)
        .current_dir(project(""))
        .output()
        .await
}

async fn succeeds(program: &str, arguments: &[&str]) {
    let output = run(program, arguments)
        .await
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:#?}"
    );
}

fn files(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(project(directory)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| {
            format!(
                "{directory}/{}",
                entry.unwrap().file_name().to_str().unwrap()
            )
        })
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

#[tokio::test]
async fn prometheus_accepts_its_configuration_and_the_unit_tests_of_the_alerts_pass() {
    let with = |first: [&'static str; 2], files: Vec<String>| {
        first
            .into_iter()
            .map(str::to_owned)
            .chain(files)
            .collect::<Vec<_>>()
    };
    for arguments in [
        with(
            ["check", "config"],
            vec!["infra/prometheus/prometheus.yml".to_owned()],
        ),
        with(["check", "rules"], files("infra/prometheus/rules")),
        with(["test", "rules"], files("infra/prometheus/tests")),
    ] {
        succeeds(
            "promtool",
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
    }
}

/// Runs only where Docker is installed.
#[tokio::test]
async fn the_compose_file_is_valid() {
    if run("docker", &["compose", "version"])
        .await
        .is_ok_and(|output| output.status.success())
    {
        succeeds("docker", &["compose", "config", "--quiet"]).await;
    }
}
