//! The processes of a demo are seen, and killed, through its order service.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::demo::{Demo, Directory, ports};
use crate::harness::{Stack, eventually};

/// The entry of a service in `GET /demo`; `None` while the order service does not answer.
async fn shown(demo: &Demo, service: &str) -> Option<Value> {
    let response = reqwest::get(format!("{}/demo", demo.url(0))).await.ok()?;
    let body: Value = response.json().await.ok()?;
    let mut services = body["services"].as_array()?.iter();
    services.find(|one| one["service"] == service).cloned()
}

async fn kill(demo: &Demo, service: &str, headers: &[(&str, &str)]) -> StatusCode {
    let url = format!("{}/demo/services/{service}/kill", demo.url(0));
    let mut request = Client::new().post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status()
}

async fn wait_until_restarted(demo: &Demo, service: &str, ended: &Value) -> Value {
    eventually(&format!("{service} to be restarted"), async || {
        let now = shown(demo, service).await?;
        (now["state"] == "running" && now["pid"] != ended["pid"]).then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_through_the_order_service_is_shown_as_ended_until_its_restart() {
    let data = Directory::new("control");
    // Long enough, on a slow machine, to ask for the ended service.
    let demo = Demo::start(&data.0, ports(), &["--restart-pause-ms", "10000"]);
    demo.wait_until_running().await;
    let before = shown(&demo, "inventory").await.unwrap();
    assert_eq!(
        (&before["state"], &before["restarts"]),
        (&"running".into(), &0.into())
    );

    assert_eq!(kill(&demo, "inventory", &[]).await, 202);
    let ended = shown(&demo, "inventory").await.unwrap();
    assert_eq!(
        (&ended["state"], &ended["pid"]),
        (&"ended".into(), &before["pid"])
    );
    let restart_in_ms = ended["restart_in_ms"].as_u64();
    assert!(restart_in_ms.is_some_and(|ms| ms <= 10_000), "{ended}");
    assert_eq!(
        kill(&demo, "inventory", &[]).await,
        409,
        "it has ended already"
    );
    assert_eq!(kill(&demo, "database", &[]).await, 404);
    let after = wait_until_restarted(&demo, "inventory", &ended).await;
    assert_eq!(
        (&after["restarts"], &after["restart_in_ms"]),
        (&1.into(), &Value::Null)
    );

    // The order service cannot answer the request that kills it.
    let before = shown(&demo, "order").await.unwrap();
    let url = format!("{}/demo/services/order/kill", demo.url(0));
    assert!(Client::new().post(url).send().await.is_err());
    let after = wait_until_restarted(&demo, "order", &before).await;
    assert_eq!(after["restarts"], 1);
    demo.stop().await;
}

/// The value of a variable of a process.
fn variable_of(pid: &Value, name: &str) -> String {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut variables = environment.split('\0');
    variables
        .find_map(|variable| variable.strip_prefix(&format!("{name}=")))
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_address_needs_the_token_of_this_demo() {
    let data = Directory::new("control-token");
    let demo = Demo::start(&data.0, ports(), &[]);
    demo.wait_until_running().await;
    let pid = &shown(&demo, "order").await.unwrap()["pid"];
    let url = variable_of(pid, "DEMO_CONTROL_URL");
    let token = format!("Bearer {}", variable_of(pid, "DEMO_CONTROL_TOKEN"));
    let status = async |method: Method, path: &str, token: Option<&str>| {
        let mut request = Client::new().request(method, format!("{url}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request.send().await.unwrap().status()
    };
    for refused in [None, Some("Bearer "), Some("Bearer x")] {
        for path in ["/demo", "/nothing"] {
            assert_eq!(status(Method::GET, path, refused).await, 401, "{refused:?}");
        }
        let killed = status(Method::POST, "/demo/services/payment/kill", refused).await;
        assert_eq!(killed, 401, "{refused:?}");
    }
    assert_eq!(status(Method::GET, "/demo", Some(&token)).await, 200);
    assert_eq!(status(Method::GET, "/nothing", Some(&token)).await, 404);
    let payment = shown(&demo, "payment").await.unwrap();
    assert_eq!(
        (&payment["state"], &payment["restarts"]),
        (&"running".into(), &0.into())
    );
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_another_site_nor_a_client_without_the_gremlins_token_can_kill_a_service() {
    let data = Directory::new("control-guard");
    let env = [("GREMLIN_TOKEN", "hunter2")];
    let demo = Demo::start_with(&data.0, ports(), &["--restart-pause-ms", "0"], &env);
    demo.wait_until_running().await;
    let token = ("authorization", "Bearer hunter2");
    assert_eq!(kill(&demo, "payment", &[]).await, 401);
    let other_site = ("origin", "http://evil.example");
    assert_eq!(kill(&demo, "payment", &[token, other_site]).await, 403);
    let payment = shown(&demo, "payment").await.unwrap();
    assert_eq!(payment["restarts"], 0);
    assert_eq!(kill(&demo, "payment", &[token]).await, 202);
    wait_until_restarted(&demo, "payment", &payment).await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_demo_no_process_is_shown_or_killed() {
    let stack = Stack::start().await;
    let configuration = stack.order.get("/dashboard.json").await.json();
    assert_eq!(configuration["demo"], false);
    stack
        .order
        .get("/demo")
        .await
        .assert_problem(404, "not-found");
    let kill = stack
        .order
        .post("/demo/services/payment/kill", &Value::Null);
    kill.await.assert_problem(404, "not-found");
}
