//! Wrong configuration, ports in use, and databases that are missing or unusable: each is one clear
//! line on standard error.

use std::process::Output;

use serde_json::json;
use tokio::process::Command;

use crate::harness::{PROGRAM, Service, TestDatabase, WAIT_TIMEOUT, eventually, free_port};

async fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied());
    command.output().await.unwrap()
}

/// Checks that a run ended with this exit code and one line on standard error, and returns the
/// line.
#[track_caller]
fn assert_one_line(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("valerix: "), "{text}");
    text
}

#[tokio::test]
async fn wrong_configuration_is_reported_in_one_line_with_exit_code_2() {
    const URL: (&str, &str) = ("DATABASE_URL", "postgres://localhost/x");
    for (role, env, wanted) in [
        ("order", &[][..], "DATABASE_URL (--database-url) is not set"),
        (
            "inventory",
            &[URL, ("PORT", "99999")],
            "PORT (--port) is '99999'; it takes a port from 1 to 65535",
        ),
        (
            "order",
            &[URL, ("DOWNSTREAM_TIMEOUT_MS", "0")],
            "DOWNSTREAM_TIMEOUT_MS",
        ),
        (
            "payment",
            &[URL, ("PAYMENT_SUCCESS_RATE", "1.1")],
            "PAYMENT_SUCCESS_RATE",
        ),
        (
            "order",
            &[("DATABASE_URL", "postgres://u:hunter2@h/x?sslmode=no")],
            "postgres://u:***@h/x?sslmode=no",
        ),
        (
            "order",
            &[(
                "DATABASE_URL",
                "postgres://h/x?user=u&password=p@hunter2&sslmode=no",
            )],
            "DATABASE_URL (--database-url) is 'postgres://h/x?user=u&password=***&sslmode=no'",
        ),
        (
            "audit",
            &[(
                "DATABASE_URL",
                "postgres://h/x?pass%77ord=hunter2&sslmode=no",
            )],
            "password=***",
        ),
        (
            "migrate",
            &[("DATABASE_URL", "postgres://h/x?PASSWORD=hunter2")],
            "unknown parameter PASSWORD",
        ),
        (
            "demo",
            &[("DATABASE_URL", "postgres://u:p@hunter2@h/x")],
            "is 'postgres://***'; it takes",
        ),
        (
            "order",
            &[("DATABASE_URL", "postgres://u:1/hunter2@h/x")],
            "is 'postgres://***'; it takes",
        ),
        (
            "order",
            &[("DATABASE_URL", "postgres://u:hunter2/x")],
            "is 'postgres://***'; it takes",
        ),
        (
            "order",
            &[("DATABASE_URL", "postgres://h/x?password=p&hunter2=1")],
            "password=***&***",
        ),
        ("demo", &[("HOST", "nowhere")], "HOST (--host) is 'nowhere'"),
        (
            "order",
            &[URL, ("HOST", "a\nb")],
            r"HOST (--host) is 'a\nb'",
        ),
        (
            "order",
            &[("DATABASE_URL", " ")],
            "DATABASE_URL (--database-url) is not set",
        ),
        (
            "order",
            &[("DATABASE_URL", "\npostgres://u:hunter2@h/x?sslmode=no")],
            "DATABASE_URL (--database-url)",
        ),
        (
            "payment",
            &[URL, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            "OTEL_EXPORTER_OTLP_PROTOCOL (--otel-exporter-otlp-protocol) is 'http/json'; \
             it takes grpc",
        ),
        (
            "payment",
            &[URL, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere")],
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ),
    ] {
        let line = assert_one_line(&run(&[role], env).await, 2);
        assert!(line.contains(wanted), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_variable_that_is_not_utf_8_is_reported_in_one_line_by_its_name() {
    use std::os::unix::ffi::OsStrExt;
    for (name, wanted, role) in [
        (
            "PORT",
            "PORT (--port) is '50\u{fffd}'; it takes UTF-8 text",
            "payment",
        ),
        (
            "GREMLIN_TOKEN",
            "GREMLIN_TOKEN (--gremlin-token) is '***'; it takes UTF-8 text",
            "payment",
        ),
        (
            "OPERATOR_TOKEN",
            "OPERATOR_TOKEN (--operator-token) is '***'; it takes UTF-8 text",
            "inventory",
        ),
        (
            "GREMLIN_TOKEN",
            "GREMLIN_TOKEN (--token) is '***'; it takes UTF-8 text",
            "gremlin",
        ),
    ] {
        let mut command = Command::new(PROGRAM);
        let arguments = if role == "gremlin" {
            vec!["gremlin", "status"]
        } else {
            vec![role]
        };
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", "postgres://h/x")
            .env(name, std::ffi::OsStr::from_bytes(b"50\xff"));
        let line = assert_one_line(&command.output().await.unwrap(), 2);
        assert_eq!(line, format!("valerix: {wanted}\n"));
    }
}

/// A copied `.env` file can contain both.
#[tokio::test(flavor = "multi_thread")]
async fn blank_variables_count_as_unset_and_surrounding_white_space_is_removed() {
    let database = TestDatabase::create().await;
    let port = free_port();
    let mut env = vec![
        ("DATABASE_URL", format!(" {} \r", database.url())),
        ("PORT", format!("{port} ")),
    ];
    // Every variable of the order service that has a default.
    for name in [
        "HOST",
        "DATABASE_POOL_SIZE",
        "CORS_ALLOWED_ORIGINS",
        "GREMLIN_TOKEN",
        "GREMLIN_ENABLED",
        "SERVICE_TOKEN",
        "LOG_FORMAT",
        "RUST_LOG",
        "INVENTORY_SERVICE_URL",
        "PAYMENT_SERVICE_URL",
        "DOWNSTREAM_TIMEOUT_MS",
        "INVENTORY_DATABASE_URL",
        "PAYMENT_DATABASE_URL",
        "RECOVERY_BOUND_SECONDS",
        "TRACE_URL",
        "GRAFANA_URL",
        "IDEMPOTENCY_KEY_TTL_SECONDS",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_TRACES_EXPORTER",
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "VALERIX_FAILPOINT",
        "DATABASE_URL_FILE",
        "NO_COLOR",
    ] {
        env.push((
            name,
            if name.len() % 2 == 0 {
                String::new()
            } else {
                " ".to_owned()
            },
        ));
    }
    let service = Service::start("order", port, &env);
    service.wait_until_ready().await;
    assert_eq!(service.get("/orders").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_from_the_files_that_variables_name() {
    let database = TestDatabase::create().await;
    let folder = std::env::temp_dir();
    let file = |name: &str, text: &str| {
        let path = folder.join(format!("valerix-{name}-{}", std::process::id()));
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let env = [
        ("DATABASE_URL_FILE", file("url", &database.url())),
        ("GREMLIN_TOKEN_FILE", file("gremlin", "s3cret")),
    ];
    let service = Service::start("payment", free_port(), &env);
    service.wait_until_ready().await;
    service
        .get("/gremlin/rules")
        .await
        .assert_problem(401, "unauthorized");
    let allowed = [("authorization", "Bearer s3cret")];
    eventually("the token of the file to be accepted", async || {
        (service
            .request(reqwest::Method::GET, "/gremlin/rules", &allowed, None)
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    for (_, path) in env {
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_reported_in_one_line_with_exit_code_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(
        &["payment"],
        &[("DATABASE_URL", "postgres://localhost/x"), ("PORT", &port)],
    )
    .await;
    assert!(
        assert_one_line(&output, 1).contains(&format!("port {port} is taken")),
        "{output:?}"
    );
    // An address of another machine has a message of its own.
    for (role, database) in [
        ("payment", &[("DATABASE_URL", "postgres://localhost/x")][..]),
        ("demo", &[]),
    ] {
        let env = [database, &[("HOST", "192.0.2.1")]].concat();
        let line = assert_one_line(&run(&[role], &env).await, 1);
        assert!(
            line.contains("192.0.2.1 is not an address of this machine"),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_waits_for_a_database_that_does_not_exist_yet() {
    let database = TestDatabase::named();
    let service = Service::start(
        "inventory",
        free_port(),
        &[("DATABASE_URL", database.url())],
    );
    eventually("the service to answer", async || {
        service
            .try_request(reqwest::Method::GET, "/livez", &[], None)
            .await
            .ok()
    })
    .await;
    service
        .get("/readyz")
        .await
        .assert_problem(503, "not-ready");
    service
        .get("/inventory")
        .await
        .assert_problem(503, "database-unavailable");
    assert_eq!(service.get("/inventory").await.header("retry-after"), "1");
    assert_eq!(
        service.get("/health").await.json()["dependencies"]["database"],
        "disconnected"
    );
    let waiting = "waiting for the database";
    let line = service.wait_for_line(waiting).await;
    assert!(line.contains("does not exist"), "{line}");
    let lines = service.lines();
    let logged = lines.iter().filter(|line| line.contains(waiting));
    assert_eq!(logged.count(), 1, "{lines:#?}");

    database.create_now().await;
    service.wait_until_ready().await;
    assert_eq!(service.get("/inventory").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_reports_what_it_applied_and_why_it_failed() {
    let database = TestDatabase::empty().await;
    let url = database.url();
    let env = [("DATABASE_URL", url.as_str())];
    let first = run(&["migrate"], &env).await;
    assert!(
        String::from_utf8_lossy(&first.stdout).starts_with("applied "),
        "{first:?}"
    );
    let second = run(&["migrate"], &env).await;
    assert!(
        String::from_utf8_lossy(&second.stdout).starts_with("nothing to apply"),
        "{second:?}"
    );

    database
        .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')")
        .await;
    let newer = assert_one_line(&run(&["migrate"], &env).await, 1);
    assert!(
        newer.contains("99990101000000") && newer.contains("newer"),
        "{newer}"
    );

    let nowhere = format!("postgres://u:hunter2@127.0.0.1:{}/x", free_port());
    let unreachable = assert_one_line(&run(&["migrate"], &[("DATABASE_URL", &nowhere)]).await, 1);
    assert!(
        unreachable.contains("cannot reach") && !unreachable.contains("hunter2"),
        "{unreachable}"
    );
}

/// Creates a database role without privileges, and returns its URL of this database.
async fn unprivileged_url(database: &TestDatabase) -> String {
    let name = format!("unprivileged_{}", free_port());
    database.execute(&format!("CREATE ROLE {name} LOGIN")).await;
    database.url().replace("postgres@", &format!("{name}@"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_database_ends_migrate_and_services_with_one_line() {
    const ALL: [&[&str]; 3] = [&["migrate"], &["inventory"], &["inventory", "--no-migrate"]];
    let latin = TestDatabase::named();
    latin
        .create_with("ENCODING 'LATIN1' TEMPLATE template0")
        .await;
    let foreign = TestDatabase::empty().await;
    foreign
        .execute("CREATE TABLE inventory (id INT); CREATE TABLE orders (id INT)")
        .await;
    let (empty, migrated) = (TestDatabase::empty().await, TestDatabase::create().await);
    let closed = TestDatabase::empty().await;
    let revoke = "EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database())";
    closed
        .execute(&format!("DO $$ BEGIN {revoke}; END $$"))
        .await;
    for (url, commands, wanted) in [
        (latin.url(), &ALL[..], "has the encoding LATIN1"),
        (
            foreign.url(),
            &ALL[..2],
            "relation \"orders\" already exists",
        ),
        (
            foreign.url(),
            &ALL[2..],
            "a table inventory that Valerix did not create",
        ),
        (
            unprivileged_url(&closed).await,
            &ALL[..],
            "may not connect to it",
        ),
        (
            unprivileged_url(&empty).await,
            &ALL[..2],
            "permission denied for schema public",
        ),
        (
            unprivileged_url(&migrated).await,
            &ALL[..2],
            "permission denied",
        ),
        (
            unprivileged_url(&migrated).await,
            &ALL[2..],
            "may not read and write the table inventory",
        ),
    ] {
        for command in commands {
            let port = free_port().to_string();
            let env = [("DATABASE_URL", url.as_str()), ("PORT", &port)];
            let ended = tokio::time::timeout(WAIT_TIMEOUT, run(command, &env)).await;
            let line = assert_one_line(
                &ended.unwrap_or_else(|_| panic!("{command:?} does not end: {wanted}")),
                1,
            );
            assert!(line.contains(wanted), "{command:?}: {line}");
        }
    }
    // A failed migration leaves no table behind.
    assert_eq!(
        foreign
            .count("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_no_migrate_waits_until_the_schema_exists() {
    let database = TestDatabase::empty().await;
    let env = [("DATABASE_URL", database.url())];
    let service = Service::start_with("inventory", free_port(), &env, &["--no-migrate"]);
    eventually("the service to answer", async || {
        service
            .try_request(reqwest::Method::GET, "/livez", &[], None)
            .await
            .ok()
    })
    .await;
    service
        .get("/readyz")
        .await
        .assert_problem(503, "not-ready");
    assert!(
        run(&["migrate"], &[("DATABASE_URL", &database.url())])
            .await
            .status
            .success()
    );
    service.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_that_migrate_at_once_one_applies_everything() {
    let database = TestDatabase::empty().await;
    let url = database.url();
    let env = [("DATABASE_URL", url.as_str())];
    let runs = futures_util::future::join_all((0..6).map(|_| run(&["migrate"], &env))).await;
    assert!(
        runs.iter().all(|output| output.status.success()),
        "{runs:#?}"
    );
    let applied = runs
        .iter()
        .filter(|output| output.stdout.starts_with(b"applied"))
        .count();
    assert_eq!(applied, 1, "one process applied all migrations");
    assert_eq!(database.count("SELECT count(*) FROM inventory").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_of_a_new_product_row_is_copied_to_stocked_and_is_its_first_delivery() {
    let database = TestDatabase::create().await;
    let insert = "INSERT INTO inventory (product_id, stock, reserved, shipped)
        VALUES ('NEW', 7, 2, 1) ON CONFLICT DO NOTHING";
    for _ in 0..2 {
        database.execute(insert).await;
    }
    let stocked = "SELECT stocked::bigint FROM inventory WHERE product_id = 'NEW'";
    assert_eq!(database.count(stocked).await, 10);
    let deliveries = "SELECT quantity, stock, reserved, stocked FROM deliveries
        WHERE product_id = 'NEW'";
    let deliveries = database.query(deliveries).await;
    let figures: Vec<[i32; 4]> = deliveries
        .iter()
        .map(|row| [0, 1, 2, 3].map(|column| row.get(column)))
        .collect();
    assert_eq!(figures, [[10, 7, 2, 10]]);
    // A product without stock has no delivery, and neither has one that is restored.
    database
        .execute(
            "INSERT INTO inventory (product_id, stock) VALUES ('EMPTY', 0);
             DELETE FROM inventory WHERE product_id = 'NEW';
             INSERT INTO inventory (product_id, stock, reserved, shipped)
             VALUES ('NEW', 7, 2, 1)",
        )
        .await;
    let deliveries = "SELECT count(*) FROM deliveries WHERE product_id IN ('NEW', 'EMPTY')";
    assert_eq!(database.count(deliveries).await, 1);
    let seeds = "SELECT sum(quantity)::bigint FROM deliveries WHERE product_id LIKE 'PROD-%'";
    assert_eq!(database.count(seeds).await, 175);
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_reports_by_its_exit_code() {
    let database = TestDatabase::create().await;
    let service = Service::start("payment", free_port(), &[("DATABASE_URL", database.url())]);
    service.wait_until_ready().await;
    assert!(
        run(&["healthcheck", "--url", &service.url], &[])
            .await
            .status
            .success()
    );
    let port = free_port().to_string();
    assert_one_line(&run(&["healthcheck"], &[("PORT", &port)]).await, 1);
    // Without `--url`, it asks the address on which the service listens.
    let port = free_port().to_string();
    let other_address = [
        ("DATABASE_URL", database.url()),
        ("HOST", "127.0.0.2".to_owned()),
        ("PORT", port.clone()),
    ];
    let other = Service::start("payment", port.parse().unwrap(), &other_address);
    eventually("the other service to answer", async || {
        run(&["healthcheck"], &[("HOST", "127.0.0.2"), ("PORT", &port)])
            .await
            .status
            .success()
            .then_some(())
    })
    .await;
    assert_one_line(&run(&["healthcheck"], &[("PORT", &port)]).await, 1);
    drop(other);
    let port = service.url.rsplit(':').next().unwrap();
    assert!(
        run(&["healthcheck"], &[("HOST", "0.0.0.0"), ("PORT", port)])
            .await
            .status
            .success()
    );
    assert_eq!(service.post("/payments", &json!({})).await.status, 400);
}

#[tokio::test]
async fn completions_version_and_help_need_no_configuration() {
    for arguments in [
        &["completions", "bash"][..],
        &["--version"],
        &["--help"],
        &["order", "--help"],
    ] {
        let output = run(arguments, &[]).await;
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
    }
}
