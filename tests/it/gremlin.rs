//! The gremlin's rules on real processes: what the client gets, and what the database holds
//! afterwards.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{PROGRAM, Service, Stack, eventually, free_port};

impl Service {
    /// Adds a rule, and returns its id.
    pub async fn add_gremlin_rule(&self, rule: Value) -> u64 {
        let response = self.post("/gremlin/rules", &rule).await;
        assert_eq!(response.status, 201, "{response:?}");
        let id = response.json()["id"].as_u64().unwrap();
        assert_eq!(response.header("location"), format!("/gremlin/rules/{id}"));
        id
    }

    pub async fn delete(&self, path: &str) -> crate::harness::Response {
        self.request(Method::DELETE, path, &[], None).await
    }

    /// A rule as `GET /gremlin/rules` lists it.
    pub async fn gremlin_rule(&self, id: u64) -> Value {
        let list = self.get("/gremlin/rules").await.json();
        let rules = list["rules"].as_array().unwrap();
        rules
            .iter()
            .find(|rule| rule["id"] == id)
            .unwrap_or_else(|| panic!("no rule {id}: {list}"))
            .clone()
    }

    /// Sends a reserve, and returns every byte that comes back until the connection is closed. It
    /// fails if the connection is still open after the timeout.
    async fn raw_reserve(&self, order_id: &str, timeout: Duration) -> Result<String, &'static str> {
        let body =
            json!({"product_id": "PROD-001", "quantity": 1, "order_id": order_id}).to_string();
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap())
            .await
            .unwrap();
        let head = format!(
            "POST /inventory/reserve HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        let mut bytes = Vec::new();
        match tokio::time::timeout(timeout, stream.read_to_end(&mut bytes)).await {
            // A reset counts as a closed connection too.
            Ok(_) => Ok(String::from_utf8(bytes).unwrap()),
            Err(_) if bytes.is_empty() => Err("no response"),
            Err(_) => Err("a response on a connection that stays open"),
        }
    }
}

const FAULT_TIMEOUT: Duration = Duration::from_secs(20);

async fn is_held(stack: &Stack, order_id: &str) -> bool {
    let held = format!(
        "SELECT count(*) FROM reservations WHERE order_id = '{order_id}' AND state = 'HELD'"
    );
    stack.database.count(&held).await == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_fault_has_its_effect_on_the_response_and_on_the_database() {
    let mut stack = Stack::start().await;
    let order = |n: u8| format!("00000000-0000-4000-8000-0000000000{n:02}");
    let rule = |kind: &str| json!({"kind": kind, "route": "/inventory/reserve", "max_fires": 1});

    stack.inventory.add_gremlin_rule(rule("vanish")).await;
    assert_eq!(
        stack.inventory.raw_reserve(&order(1), FAULT_TIMEOUT).await,
        Ok(String::new()),
        "no byte of a response"
    );
    assert!(
        is_held(&stack, &order(1)).await,
        "committed before the connection closed"
    );

    stack.inventory.add_gremlin_rule(rule("drop")).await;
    assert_eq!(
        stack.inventory.raw_reserve(&order(2), FAULT_TIMEOUT).await,
        Ok(String::new())
    );
    assert!(!is_held(&stack, &order(2)).await, "the handler did not run");

    stack.inventory.add_gremlin_rule(rule("hang")).await;
    let hung = stack
        .inventory
        .raw_reserve(&order(3), Duration::from_secs(1))
        .await;
    assert_eq!(hung, Err("no response"));
    assert!(!is_held(&stack, &order(3)).await);

    stack
        .inventory
        .add_gremlin_rule(
            json!({"kind": "error", "status": 418, "route": "/inventory/reserve", "max_fires": 1}),
        )
        .await;
    let body = json!({"product_id": "PROD-001", "quantity": 1, "order_id": order(4)});
    stack
        .inventory
        .post("/inventory/reserve", &body)
        .await
        .assert_problem(418, "injected-fault");
    assert!(!is_held(&stack, &order(4)).await);

    let slow =
        json!({"kind": "latency", "delay_ms": 500, "jitter_ms": 100, "seed": 1, "max_fires": 1});
    stack.inventory.add_gremlin_rule(slow).await;
    let response = stack.inventory.post("/inventory/reserve", &body).await;
    assert_eq!(response.status, 200);
    assert!(
        response.took >= Duration::from_millis(400),
        "{:?}",
        response.took
    );

    stack.inventory.add_gremlin_rule(rule("crash")).await;
    assert_eq!(
        stack.inventory.raw_reserve(&order(5), FAULT_TIMEOUT).await,
        Ok(String::new())
    );
    assert!(
        is_held(&stack, &order(5)).await,
        "committed before the process aborted"
    );
    tokio::time::timeout(FAULT_TIMEOUT, stack.inventory.process.wait())
        .await
        .unwrap()
        .unwrap();
    stack
        .inventory
        .wait_for_line("the gremlin aborts the process")
        .await;
    stack.restart_ended().await;
    let rules = stack.inventory.get("/gremlin/rules").await.json();
    assert_eq!(rules["rules"], json!([]), "rules do not survive a restart");
    assert_eq!(stack.stock("PROD-001").await, (97, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_survives_each_kind_of_fault_in_each_service_and_is_confirmed_once() {
    let mut stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "500")]).await;
    let mut placed = 0;
    for kind in ["latency", "error", "drop", "vanish", "hang", "crash"] {
        for (role, route) in [
            ("inventory", "/inventory/reserve"),
            ("payment", "/payments"),
        ] {
            let service = if role == "inventory" {
                &stack.inventory
            } else {
                &stack.payment
            };
            service
                .add_gremlin_rule(
                    json!({"kind": kind, "route": route, "method": "POST", "max_fires": 1}),
                )
                .await;
            let response = stack.place("PROD-001", 1).await;
            placed += 1;
            assert_eq!(response.status, 202, "{kind} in {role}: {response:?}");
            // The order is settled first: the next rule must not hit its recovery.
            stack.restart_until_settled(kind).await;
        }
    }
    let confirmed = "SELECT count(*) FROM orders WHERE status = 'CONFIRMED'";
    assert_eq!(stack.database.count(confirmed).await, placed);
    assert_eq!(stack.stock("PROD-001").await, (100 - placed, placed));
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbound_rule_delays_the_calls_of_its_service_until_the_breaker_opens() {
    const DELAY: Duration = Duration::from_secs(20);
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "1000")]).await;
    let rule = json!({
        "kind": "latency", "delay_ms": DELAY.as_millis(), "direction": "outbound",
        "dependency": "payment-service"
    });
    let id = stack.order.add_gremlin_rule(rule).await;
    let response = stack.place("PROD-001", 1).await;
    assert_eq!(
        (response.status.as_u16(), &response.json()["status"]),
        (202, &json!("PENDING_PAYMENT"))
    );
    let direct = stack.payment.get("/health").await;
    assert!(
        direct.took < DELAY,
        "payment itself is not delayed: {:?}",
        direct.took
    );
    let not_called = "SELECT count(*) FROM order_events WHERE reason = 'payment-not-called'";
    eventually("payment's breaker to open", async || {
        let placed = join_all((0..4).map(|_| stack.place("PROD-001", 1))).await;
        assert!(
            placed.iter().all(|placed| placed.status == 202),
            "{placed:?}"
        );
        (stack.database.count(not_called).await > 0).then_some(())
    })
    .await;
    assert!(
        stack.order.gremlin_rule(id).await["fired"]
            .as_u64()
            .unwrap()
            >= 10
    );
    assert_eq!(
        stack
            .order
            .delete(&format!("/gremlin/rules/{id}"))
            .await
            .status,
        204
    );
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_one_product_matches_it_in_path_query_and_body() {
    let stack = Stack::start().await;
    for service in [&stack.order, &stack.inventory] {
        service
            .add_gremlin_rule(json!({"kind": "error", "status": 599, "product_id": "PROD-002"}))
            .await;
    }
    let order = |product| json!({"product_id": product, "quantity": 1});
    assert_eq!(
        stack.order.post("/orders", &order("PROD-002")).await.status,
        599
    );
    assert_eq!(
        stack.order.post("/orders", &order("PROD-001")).await.status,
        201,
        "the handler still gets the whole body"
    );
    assert_eq!(
        stack.order.get("/orders?product_id=PROD-002").await.status,
        599
    );
    assert_eq!(
        stack.order.get("/orders?product_id=PROD-001").await.status,
        200
    );
    assert_eq!(
        stack.inventory.get("/inventory/PROD%2D002").await.status,
        599
    );
    assert_eq!(stack.inventory.get("/inventory/PROD-001").await.status, 200);
    let too_large = json!({"product_id": "PROD-001", "quantity": 1, "more": "x".repeat(20_000)});
    stack
        .order
        .post("/orders", &too_large)
        .await
        .assert_problem(413, "too-large");
    stack
        .order
        .request(Method::POST, "/orders", &[], Some("{"))
        .await
        .assert_problem(400, "malformed-json");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_listed_with_counts_and_removed_and_invalid_ones_change_nothing() {
    let stack = Stack::start().await;
    let payment = &stack.payment;
    let rule = json!({
        "kind": "error", "route": "/payments/{id}", "every": 2, "ttl_seconds": 60, "max_fires": 2
    });
    let id = payment.add_gremlin_rule(rule).await;
    let path = "/payments/00000000-0000-4000-8000-000000000001";
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(payment.get(path).await.status.as_u16());
    }
    assert_eq!(statuses, [404, 500, 404, 500, 404]);
    let shown = payment.gremlin_rule(id).await;
    assert_eq!(
        (&shown["matched"], &shown["fired"], &shown["active"]),
        (&json!(4), &json!(2), &json!(false))
    );
    assert_eq!(shown["remaining_fires"], 0);

    let id = payment
        .add_gremlin_rule(json!({"kind": "hang", "route": "/nothing", "ttl_seconds": 60}))
        .await;
    let left = payment.gremlin_rule(id).await["remaining_seconds"]
        .as_f64()
        .unwrap();
    assert!(left > 30.0 && left <= 60.0, "{left}");
    let before = payment.get("/gremlin/rules").await.json()["rules"]
        .as_array()
        .unwrap()
        .len();
    for (body, field) in [
        (json!({"kind": "flood"}), "kind"),
        (json!({"kind": "latency", "delay_ms": -5}), "delay_ms"),
        (json!({"kind": "drop", "probability": 2}), "probability"),
        (json!({"kind": "drop", "every": 0}), "every"),
        (json!({"kind": "drop", "route": "/gremlin/rules"}), "route"),
    ] {
        let problem = payment
            .post("/gremlin/rules", &body)
            .await
            .assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    assert_eq!(
        payment.get("/gremlin/rules").await.json()["rules"]
            .as_array()
            .unwrap()
            .len(),
        before
    );

    payment
        .delete("/gremlin/rules/999")
        .await
        .assert_problem(404, "not-found");
    payment
        .delete("/gremlin/rules/x")
        .await
        .assert_problem(404, "not-found");
    assert_eq!(
        payment.delete("/gremlin/rules").await.json(),
        json!({"removed": before})
    );
    let limit = payment.get("/gremlin/rules").await.json()["limit"]
        .as_u64()
        .unwrap();
    for _ in 0..limit {
        payment.add_gremlin_rule(json!({"kind": "drop"})).await;
    }
    payment
        .post("/gremlin/rules", &json!({"kind": "drop"}))
        .await
        .assert_problem(409, "too-many-rules");
    assert!(
        payment
            .try_request(Method::GET, "/health", &[], None)
            .await
            .is_err(),
        "the rules drop every request"
    );
    for exempt in ["/metrics", "/livez", "/readyz", "/gremlin/latency"] {
        assert_eq!(payment.get(exempt).await.status, 200, "{exempt}");
    }
    assert_eq!(
        payment.delete("/gremlin/rules").await.json(),
        json!({"removed": limit})
    );
    assert_eq!(payment.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_rules_and_injected_faults_are_counted_and_logged() {
    let stack = Stack::start().await;
    let id = stack
        .inventory
        .add_gremlin_rule(json!({"kind": "vanish", "route": "/inventory"}))
        .await;
    assert!(
        stack
            .inventory
            .try_request(Method::GET, "/inventory", &[], None)
            .await
            .is_err()
    );
    stack.inventory.set_latency(true, 0).await;
    stack.inventory.get("/health").await;
    let metrics = stack.inventory.get("/metrics").await.text;
    for series in [
        format!(r#"valerix_gremlin_faults_total{{kind="vanish",rule="{id}"}} 1"#),
        r#"valerix_gremlin_faults_total{kind="latency",rule="switch"} 1"#.to_owned(),
        r#"valerix_gremlin_changes_total{change="rule-added"} 1"#.to_owned(),
        r#"valerix_gremlin_changes_total{change="switch-on"} 1"#.to_owned(),
        "valerix_gremlin_rules 1".to_owned(),
        r#"status_code="444"} 1"#.to_owned(),
    ] {
        assert!(metrics.contains(&series), "no {series} in {metrics}");
    }
    for (message, word) in [
        ("gremlin rule added", "\"vanish\""),
        ("gremlin fault injected", "\"/inventory\""),
    ] {
        let line = stack.inventory.wait_for_line(message).await;
        assert!(line.contains(word), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_require_the_gremlin_token() {
    let stack = Stack::with(&[("GREMLIN_TOKEN", "s3cret")]).await;
    let rule = r#"{"kind":"drop"}"#;
    for (method, path) in [
        (Method::POST, "/gremlin/rules"),
        (Method::GET, "/gremlin/rules"),
        (Method::DELETE, "/gremlin/rules/1"),
    ] {
        let response = stack
            .order
            .request(method, path, &[("authorization", "Bearer x")], Some(rule))
            .await;
        response.assert_problem(401, "unauthorized");
    }
    let allowed = [("authorization", "Bearer s3cret")];
    let response = stack
        .order
        .request(Method::POST, "/gremlin/rules", &allowed, Some(rule))
        .await;
    assert_eq!(response.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_a_public_address_warns_of_a_gremlin_without_a_token() {
    let stack = Stack::start().await;
    let warning = "every client that reaches this port can inject faults";
    assert!(
        !stack.lines().iter().any(|line| line.contains(warning)),
        "a loopback address needs no warning"
    );
    for (extra, warned) in [(None, true), (Some(("GREMLIN_TOKEN", "s3cret")), false)] {
        let mut env = vec![
            ("DATABASE_URL", stack.database.url()),
            ("HOST", "0.0.0.0".to_owned()),
        ];
        env.extend(extra.map(|(name, value)| (name, value.to_owned())));
        let service = Service::start("payment", free_port(), &env);
        service.wait_until_ready().await;
        if warned {
            service.wait_for_line(warning).await;
        } else {
            let lines = service.lines();
            assert!(!lines.iter().any(|line| line.contains(warning)));
        }
    }
}

async fn valerix(arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(PROGRAM);
    command
        .args(arguments)
        .env_remove("GREMLIN_TOKEN")
        .envs(env.iter().copied());
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gremlin_command_controls_every_service_and_reports_errors() {
    let stack = Stack::with(&[("GREMLIN_TOKEN", "s3cret")]).await;
    let env = [
        ("ORDER_SERVICE_URL", stack.order.url.as_str()),
        ("INVENTORY_SERVICE_URL", &stack.inventory.url),
        ("PAYMENT_SERVICE_URL", &stack.payment.url),
        ("GREMLIN_TOKEN", "s3cret"),
    ];
    let (code, shown, _) = valerix(&["gremlin", "on"], &env).await;
    assert_eq!(code, Some(0));
    assert!(
        shown.contains("inventory-service") && shown.contains("latency 3000 ms"),
        "{shown}"
    );
    let add = [
        "gremlin",
        "add",
        "vanish",
        "--service",
        "payment",
        "--route",
        "/payments",
        "--every",
        "2",
    ];
    let (code, shown, _) = valerix(&add, &env).await;
    assert!(
        code == Some(0) && shown.contains("one in 2") && shown.contains("/payments"),
        "{shown}"
    );
    let (_, shown, _) = valerix(&["gremlin", "status", "--json"], &env).await;
    let statuses: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(statuses[0]["service"], "order-service");
    assert_eq!(
        statuses[1]["latency"],
        json!({"enabled": true, "delay_ms": 3000})
    );
    assert_eq!(statuses[2]["rules"][0]["kind"], "vanish");
    for (arguments, expected) in [
        (
            &["gremlin", "add", "flood"][..],
            "kind must be a known name",
        ),
        (
            &["gremlin", "add", "latency", "--delay-ms", "-1"],
            "delay_ms must be a whole number from 0 to 60000",
        ),
        (&["gremlin", "rm", "99"], "There is no such rule"),
        (
            &["gremlin", "status", "--token", "wrong"],
            "it requires its token",
        ),
        (
            &["gremlin", "status", "--service", "http://127.0.0.1:1"],
            "does not answer",
        ),
    ] {
        let (code, _, stderr) = valerix(arguments, &env).await;
        assert!(
            code == Some(1) && stderr.contains(expected),
            "{arguments:?}: {stderr}"
        );
    }
    let (code, _, stderr) = valerix(&["gremlin", "on", "--service", "warehouse"], &env).await;
    let refusal = "valerix: --service is 'warehouse'; it takes order, inventory, payment, all or \
                   http://host:port\n";
    assert_eq!((code, stderr.as_str()), (Some(2), refusal));
    assert_eq!(
        valerix(&["gremlin", "rm", "--all", "--service", "payment"], &env)
            .await
            .0,
        Some(0)
    );
    assert_eq!(
        valerix(&["gremlin", "off", "--service", "all"], &env)
            .await
            .0,
        Some(0)
    );
    let (_, shown, _) = valerix(&["gremlin", "status"], &env).await;
    assert_eq!(shown.matches("  -     none\n").count(), 3, "{shown}");
}

#[tokio::test]
async fn a_tour_that_cannot_pause_is_refused() {
    for flags in [&["--pause"][..], &["--pause", "--json"]] {
        let arguments = [&["gremlin", "tour"], flags].concat();
        let (code, stdout, stderr) = valerix(&arguments, &[]).await;
        let wanted = "valerix: --pause waits for Enter; it takes a terminal as input and output, and \
                      no --json\n";
        assert_eq!((code, &*stdout, &*stderr), (Some(2), "", wanted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_starts_a_platform_if_none_runs_and_passes() {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let (code, stdout, stderr) =
        valerix(&["gremlin", "tour"], &[("ORDER_SERVICE_URL", &nowhere)]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.lines().all(|line| line.chars().count() <= 80),
        "{stdout}"
    );
    // The last sentence can take two lines.
    let told = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for heading in [
        "latency:",
        "error:",
        "drop:",
        "vanish:",
        "hang:",
        "crash:",
        "The invariants",
        "Dashboard: http://127.0.0.1:",
        "declines payments on purpose",
        "Proved No invariant is violated",
        "12 chapters, ",
        "checks hold: ",
        "finished, 0 lost, 0 charged twice.",
    ] {
        assert!(told.contains(heading), "no {heading} {stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_fails_and_reports_the_checks_that_did_not_pass() {
    // The platform of the tour inherits this timeout, and the tour expects one of 2 s.
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let env = [
        ("ORDER_SERVICE_URL", nowhere.as_str()),
        ("DOWNSTREAM_TIMEOUT_MS", "1000"),
    ];
    let (code, stdout, stderr) = valerix(&["gremlin", "tour", "--json"], &env).await;
    assert_eq!(code, Some(1), "{stdout}");
    let report: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let findings = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|step| step["findings"].as_array().unwrap());
    let failed: Vec<_> = findings
        .filter(|finding| finding["passed"] == false)
        .collect();
    assert_eq!(
        (report["passed"].as_bool(), report["failures"].as_u64()),
        (Some(false), Some(failed.len() as u64))
    );
    let too_early = |finding: &&&Value| {
        let found = finding["found"].as_str().unwrap();
        let seconds = found.strip_prefix("202 after ").and_then(|rest| {
            let (seconds, _) = rest.split_once(' ')?;
            seconds.parse::<f64>().ok()
        });
        seconds.is_some_and(|seconds| seconds < 1.9)
    };
    assert!(
        failed
            .iter()
            .any(|finding| finding["check"] == "the customer" && too_early(&finding)),
        "{stdout}"
    );
    let steps = report["steps"].as_array().unwrap().iter();
    let ids: Vec<_> = steps.map(|step| step["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        valerix::api::story::STORY
            .chapters
            .iter()
            .map(|chapter| chapter.captions.id)
            .collect::<Vec<_>>(),
        "the report tells the whole story: {stdout}"
    );
    assert!(
        stderr.contains(&format!("tour: {} of ", failed.len())),
        "{stderr}"
    );
}
