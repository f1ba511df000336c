//! `DATABASE_URL` with several hosts: the one that takes writes is found, and found again.

use std::str::FromStr;

use serde_json::{Value, json};
use valerix::platform::db::{DatabaseUrl, migrate};

use crate::harness::dedicated_postgres::{TcpPostgres, start_order_service};
use crate::harness::{Service, eventually};

fn url(servers: [&TcpPostgres; 2], query: &str) -> String {
    let [one, two] = servers.map(|server| format!("127.0.0.1:{}", server.port));
    format!("postgres://postgres@{one},{two}/postgres?{query}")
}

async fn takes_orders(service: &Service) {
    let order = json!({"product_id": "PROD-001", "quantity": 1});
    eventually("orders to be taken", async || {
        (service.post("/orders", &order).await.status == 202).then_some(())
    })
    .await;
}

/// The server whose sessions the service has; each server is asked by a session of another name.
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
async fn hosts_that_are_all_read_only_are_told_of_once_and_got_over() {
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
    let told = warnings(&service);
    assert_eq!(told.len(), 1, "{told:#?}");
    let cause = told[0]["cause"].as_str().unwrap();
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
        told.len(),
        "{:#?}",
        warnings(&service)
    );
    takes_orders(&service).await;
    service.process.stop().await.unwrap();
    tokio::join!(one.postgres.end(), two.postgres.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_follows_the_writes_from_host_to_host() {
    let (one, two) = tokio::join!(TcpPostgres::start(), TcpPostgres::start());
    // A real standby would have it from the primary.
    migrate(&DatabaseUrl::from_str(&two.url()).unwrap())
        .await
        .unwrap();
    two.accept_writes(false).await;
    let mut service = start_order_service(url([&one, &two], "application_name=service"), &[]);
    service.wait_until_ready().await;
    takes_orders(&service).await;
    assert!(has_sessions(&one).await && !has_sessions(&two).await);

    // The connections stay; their server has become a standby. Nobody orders: readiness alone must
    // find out.
    one.accept_writes(false).await;
    eventually("the service to notice that it cannot write", async || {
        (service.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    two.accept_writes(true).await;
    service.wait_until_ready().await;
    takes_orders(&service).await;
    assert!(has_sessions(&two).await);

    // It hangs: connections to it stay open and are never answered, new ones are accepted by the
    // system. Again nobody orders.
    one.accept_writes(true).await;
    two.postgres.pause();
    eventually("the service to notice that nobody answers", async || {
        (service.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    service.wait_until_ready().await;
    takes_orders(&service).await;
    assert!(has_sessions(&one).await);
    two.postgres.resume();
    service.process.stop().await.unwrap();
    tokio::join!(one.postgres.end(), two.postgres.end());
}
