//! `valerix describe`: the description matches the services, and contains no secret.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{PROGRAM, Service, TestDatabase};

async fn output(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = Command::new(PROGRAM);
    let command = command.args(arguments).env_clear();
    let output = command.envs(env.iter().copied()).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn description() -> Value {
    serde_json::from_str(&output(&["describe", "--json"], &[]).await).unwrap()
}

#[tokio::test]
async fn the_description_depends_on_no_variable_and_shows_no_secret() {
    let secrets = [
        ("DATABASE_URL", "postgres://u:hunter2@h/db"),
        ("INVENTORY_DATABASE_URL", "postgres://u:hunter2@h/db"),
        ("GREMLIN_TOKEN", "hunter2"),
        ("SERVICE_TOKEN_FILE", "/nowhere/hunter2"),
        ("OPERATOR_TOKEN", "hunter2"),
        ("PORT", "1"),
        ("DATABASE_POOL_SIZE", "1"),
    ];
    for arguments in [&["describe"][..], &["describe", "--json"]] {
        let without = output(arguments, &[]).await;
        let with = output(arguments, &secrets).await;
        assert_eq!(with, without);
        assert!(!with.contains("hunter2"), "{with}");
    }
}

#[tokio::test]
async fn the_description_has_every_variable_once_for_each_default() {
    let description = description().await;
    let variables: Vec<&str> = description["environment_variables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for name in [
        "PORT",
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "OPERATOR_TOKEN_FILE",
        "ORDER_SERVICE_URL",
        "OTEL_TRACES_SAMPLER",
        "VALERIX_FAILPOINT",
    ] {
        assert!(variables.contains(&name), "{name}: {variables:?}");
    }
    let settings = description["settings"].as_array().unwrap();
    let of = |name| settings.iter().filter(move |one| one["variable"] == name);
    let pool_size = of("DATABASE_POOL_SIZE").next().unwrap();
    assert_eq!(pool_size["flag"], "--database-pool-size");
    assert_eq!(
        pool_size["default"],
        description["default_database_pool_size"].to_string()
    );
    let commands = &pool_size["commands"];
    assert_eq!(
        *commands,
        serde_json::json!(["inventory", "order", "payment"])
    );
    assert_eq!(of("PORT").count(), 2, "{settings:#?}");
    let operator_token = of("OPERATOR_TOKEN").next().unwrap();
    assert_eq!(operator_token["flag"], "--operator-token");
    assert_eq!(
        operator_token["commands"],
        serde_json::json!(["inventory", "order", "orders", "retention", "stock"])
    );
    let commands = description["commands"].as_array().unwrap();
    for name in ["stock", "orders", "retention"] {
        assert!(commands.contains(&name.into()), "{commands:?}");
    }
}

/// The (path, method) of each route in an OpenAPI document.
fn routes_in(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let routes = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (path.clone(), method.to_uppercase()))
    });
    routes.collect()
}

/// Each service listens on a loopback address that nothing else uses, so that its default port is
/// free.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_port_has_the_described_port_name_routes_and_probes() {
    let database = TestDatabase::create().await;
    let description = description().await;
    let services = description["services"].as_array().unwrap();
    assert_eq!(services.len(), 3);
    for described in services {
        let host = format!("127.0.7.{}", std::process::id() % 250 + 1);
        let env = [
            ("DATABASE_URL", database.url()),
            ("HOST", host.clone()),
            // A blank variable counts as not set.
            ("PORT", String::new()),
        ];
        let port = described["default_port"].as_u64().unwrap();
        let command = described["command"].as_str().unwrap();
        let mut service = Service::start(command, port.try_into().unwrap(), &env);
        service.url = format!("http://{host}:{port}");
        service.wait_until_ready().await;
        let document = service.get("/openapi.json").await.json();
        let routes = described["routes"].as_array().unwrap().iter();
        let field = |route: &Value, name| route[name].as_str().unwrap().to_owned();
        let routes: Vec<_> = routes
            .map(|route| (field(route, "path"), field(route, "method")))
            .collect();
        let served: Vec<_> = routes_in(&document).into_iter().collect();
        assert_eq!(routes, served, "{command}");
        for probe in ["liveness_path", "readiness_path"] {
            let path = description["probes"][probe].as_str().unwrap();
            assert_eq!(service.get(path).await.status, 200, "{command} {path}");
            assert!(document["paths"][path].is_object(), "{command} {path}");
        }
        let health = service.get("/health").await.json();
        assert_eq!(health["service"], described["service_name"]);
    }
}
