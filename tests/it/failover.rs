//! `DATABASE_URL` with several hosts: the service finds the host that accepts writes, also after a
//! failover.

use std::str::FromStr;

use serde_json::{Value, json};
use valerix::platform::db::{DatabaseUrl, migrate};

use crate::harness::dedicated_postgres::{TcpPostgres, start_order_service};
use crate::harness::{Service, eventually};

fn url(servers: [&TcpPostgres; 2], query: &str) -> String {
    let [one, two] = servers.map(|server| format!("127.0.0.1:{}", server.port));
    format!("postgres://postgres@{one},{two}/postgres?{query}")
}

async fn wait_until_orders_are_accepted(service: &Service) {
    let order = json!({"product_id": "PROD-001", "quantity": 1});
    eventually("orders to be accepted", async || {
        (service.post("/orders", &order).await.status == 202).then_some(())
    })
    .await;
}

/// Whether the service has sessions on a server. The test's own session has another name.
async fn has_sessions(server: &TcpPostgres) -> bool {
    let client = server.client().await;
    let statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'service'";
    client
        .query_one(statement, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        > 0
}

fn warnings(service: &Service) -> Vec<Value> {
    let lines = service
        .lines()
        .into_iter()
        .map(|line| serde_json::from_str::<Value>(&line).unwrap());
    lines
        .filter(|line| ["WARN", "ERROR"].contains(&line["level"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_hosts_are_logged_once_and_the_service_starts_when_one_accepts_writes() {
    let (one, two) = tokio::join!(TcpPostgres::start(), TcpPostgres::start());
    tokio::join!(one.accept_writes(false), two.accept_writes(false));
    let mut service =
        start_order_service(url([&one, &two], "target_session_attrs=read-write"), &[]);

    eventually("the service to listen", async || {
        service
            .try_request(reqwest::Method::GET, "/livez", &[], None)
            .await
            .ok()
    })
    .await;
    for _ in 0..5 {
        service
            .get("/readyz")
            .await
            .assert_problem(503, "not-ready");
        assert_eq!(
            service.get("/health").await.json()["dependencies"]["database"],
            "disconnected"
        );
    }
    assert!(!service.has_ended(), "{:#?}", service.lines());
    let logged = eventually("a warning", async || {
        Some(warnings(&service)).filter(|logged| !logged.is_empty())
    })
    .await;
    assert_eq!(logged.len(), 1, "{logged:#?}");
    let cause = logged[0]["cause"].as_str().unwrap();
    for server in [&one, &two] {
        let host = format!("127.0.0.1:{}: ", server.port);
        assert!(
            cause.contains(&host) && cause.contains("does not allow writes"),
            "{cause}"
        );
    }

    two.accept_writes(true).await;
    service.wait_until_ready().await;
    assert_eq!(
        warnings(&service).len(),
        logged.len(),
        "{:#?}",
        warnings(&service)
    );
    wait_until_orders_are_accepted(&service).await;
    service.process.stop().await.unwrap();
    tokio::join!(one.postgres.end(), two.postgres.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_moves_to_the_host_that_accepts_writes() {
    let (one, two) = tokio::join!(TcpPostgres::start(), TcpPostgres::start());
    // A real standby would get the schema from the primary.
    migrate(&DatabaseUrl::from_str(&two.url()).unwrap())
        .await
        .unwrap();
    two.accept_writes(false).await;
    let mut service = start_order_service(url([&one, &two], "application_name=service"), &[]);
    service.wait_until_ready().await;
    wait_until_orders_are_accepted(&service).await;
    assert!(has_sessions(&one).await && !has_sessions(&two).await);

    // The connections stay open while their server becomes a standby. There are no orders, so only
    // the readiness check can notice it.
    one.accept_writes(false).await;
    eventually("the service to notice that it cannot write", async || {
        (service.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    two.accept_writes(true).await;
    service.wait_until_ready().await;
    wait_until_orders_are_accepted(&service).await;
    assert!(has_sessions(&two).await);

    // The server hangs: open connections do not respond, and the kernel accepts new ones. Again
    // there are no orders.
    one.accept_writes(true).await;
    two.postgres.pause();
    eventually("the service to notice that its server hangs", async || {
        (service.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    service.wait_until_ready().await;
    wait_until_orders_are_accepted(&service).await;
    assert!(has_sessions(&one).await);
    two.postgres.resume();
    service.process.stop().await.unwrap();
    tokio::join!(one.postgres.end(), two.postgres.end());
}
