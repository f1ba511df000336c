//! Database failures, and TLS between the services and the database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use nix::unistd::{Uid, User, chown};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_postgres::NoTls;

use crate::harness::dedicated_postgres::{
    DedicatedPostgres, MAX_RESPONSE_TIME, RELOAD, assert_database_unavailable, place_order,
    wait_until_orders_are_accepted,
};
use crate::harness::{Service, Stack, eventually, free_port, stock_of};

#[tokio::test(flavor = "multi_thread")]
async fn database_failures_are_answered_in_time_and_need_no_restart_of_the_service() {
    let mut postgres = DedicatedPostgres::start(vec!["max_connections=50".to_owned()]).await;
    let service = postgres.order_service(&[("DATABASE_POOL_SIZE", "3")]).await;
    assert_eq!(place_order(&service).await.status, 202);

    postgres
        .execute(&[
            "ALTER SYSTEM SET default_transaction_read_only = on",
            RELOAD,
        ])
        .await;
    eventually("the database to refuse writes", async || {
        let response = place_order(&service).await;
        (response.status != 202).then(|| assert_database_unavailable(&response))
    })
    .await;
    let writable = "SET default_transaction_read_only = off";
    postgres
        .execute(&[
            writable,
            "ALTER SYSTEM RESET default_transaction_read_only",
            RELOAD,
        ])
        .await;
    wait_until_orders_are_accepted(&service).await;

    let kill = ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'valerix' AND pid <> pg_backend_pid()"];
    postgres.execute(&kill).await;
    wait_until_orders_are_accepted(&service).await;

    let locker = postgres.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE")
        .await
        .unwrap();
    let blocked = futures_util::future::join_all((0..30).map(|_| place_order(&service))).await;
    blocked.iter().for_each(assert_database_unavailable);
    let in_flight = async {
        let response = place_order(&service).await;
        assert!(response.took < MAX_RESPONSE_TIME, "{:?}", response.took);
    };
    tokio::join!(in_flight, postgres.execute(&kill));
    locker.batch_execute("ROLLBACK").await.unwrap();
    wait_until_orders_are_accepted(&service).await;

    postgres.server.stop().await;
    assert_database_unavailable(&place_order(&service).await);
    service
        .get("/readyz")
        .await
        .assert_problem(503, "not-ready");
    assert_eq!(
        service.get("/health").await.json()["dependencies"]["database"],
        "disconnected"
    );
    postgres.server.restart().await.unwrap();
    wait_until_orders_are_accepted(&service).await;
    let failed = service
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "a database failure is not an internal error");
    postgres.end().await;
}

/// Sessions end at any moment, also between a commit and its acknowledgement. Each response says
/// what was stored, or that the outcome is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_lose_no_order_and_cause_no_internal_error() {
    const CUSTOMERS: usize = 8;
    const ROUNDS: usize = 40;
    let stack = Stack::start().await;
    stack.database.execute(&stock_of(1_000_000)).await;
    let ended = AtomicBool::new(false);
    let place_orders = async || {
        let mut statuses = BTreeMap::<u16, u32>::new();
        while !ended.load(Ordering::Relaxed) {
            *statuses
                .entry(stack.place("PROD-001", 1).await.status.as_u16())
                .or_default() += 1;
        }
        statuses
    };
    let end_sessions = async {
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for _ in 0..ROUNDS {
            stack.database.execute(others).await;
            // Some orders are placed between two rounds.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        ended.store(true, Ordering::Relaxed);
    };
    let (statuses, ()) = tokio::join!(
        join_all((0..CUSTOMERS).map(|_| place_orders())),
        end_sessions
    );
    println!("{statuses:?}");
    let expected = |status: &u16| [201, 202, 503].contains(status);
    let internal_errors = stack
        .lines()
        .into_iter()
        .filter(|line| line.contains("request failed"))
        .collect::<Vec<_>>();
    assert!(
        statuses.iter().flat_map(BTreeMap::keys).all(expected) && internal_errors.is_empty(),
        "{statuses:?} {internal_errors:#?}"
    );
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

/// A certificate authority, and a server certificate for `localhost` that it has signed.
struct Certificates {
    root: PathBuf,
    root_key: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn make(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let server = server.signed_by(&key, &authority).unwrap();
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let this = Self {
            root: write("ca@home.pem", authority.pem()),
            root_key: write("ca.key", authority.key().serialize_pem()),
            certificate: write("server.pem", server.pem()),
            key: write("server.key", key.serialize_pem()),
        };
        this.give_to_server();
        this
    }

    /// PostgreSQL requires that only its own user can read its key, and it never runs as root.
    fn give_to_server(&self) {
        use std::os::unix::fs::PermissionsExt;
        for key in [&self.key, &self.root_key] {
            std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
            if Uid::effective().is_root() {
                let user = User::from_name("postgres")
                    .unwrap()
                    .or(User::from_name("nobody").unwrap())
                    .unwrap();
                chown(key, Some(user.uid), Some(user.gid)).unwrap();
            }
        }
    }
}

/// Starts a server with TLS on a port of 127.0.0.1.
async fn start_with_tls(port: u16, certificate: &Path, key: &Path) -> DedicatedPostgres {
    DedicatedPostgres::start(vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", certificate.display()),
        format!("ssl_key_file={}", key.display()),
    ])
    .await
}

fn url(host: &str, port: u16, query: &str) -> String {
    format!("postgres://postgres@{host}:{port}/postgres?{query}")
}

fn with_root(mode: &str, root: &Path) -> String {
    format!("sslmode={mode}&sslrootcert={}", root.display())
}

fn start_payment(database_url: String) -> Service {
    Service::start("payment", free_port(), &[("DATABASE_URL", database_url)])
}

/// Checks that a service does not become ready with a URL, and logs the reason.
async fn assert_connection_fails(database_url: String, why: &str, expected: &str) {
    let service = start_payment(database_url);
    let line = eventually(&format!("{why} to be rejected"), async || {
        service
            .lines()
            .into_iter()
            .find(|line| line.contains("waiting for the database"))
    })
    .await;
    assert!(line.contains(expected), "{why}: {line}");
    service
        .get("/readyz")
        .await
        .assert_problem(503, "not-ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn sslmode_decides_on_encryption_and_on_the_check_of_the_certificate() {
    let directory = std::env::temp_dir().join(format!("valerix-tls-{}", std::process::id()));
    let certificates = Certificates::make(&directory);
    let other_authority = Certificates::make(&directory.join("other"));
    let (port, authority_port) = (free_port(), free_port());
    let tls = start_with_tls(port, &certificates.certificate, &certificates.key).await;
    let authority =
        start_with_tls(authority_port, &certificates.root, &certificates.root_key).await;
    let plain_port = free_port();
    let plain = DedicatedPostgres::start(vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={plain_port}"),
    ])
    .await;
    let root = |path: &Path| with_root("verify-full", path);
    let encoded = root(&certificates.root)
        .replace('/', "%2F")
        .replace('@', "%40");

    for (accepted, encrypted) in [
        (url("localhost", port, "sslmode=require"), "t"),
        (url("127.0.0.1", port, "sslmode=require"), "t"),
        (url("127.0.0.1", port, "sslmode=prefer"), "t"),
        (url("localhost", port, &root(&certificates.root)), "t"),
        (url("localhost", port, &encoded), "t"),
        (
            url(
                "127.0.0.1",
                port,
                &with_root("verify-ca", &certificates.root),
            ),
            "t",
        ),
        (url("127.0.0.1", plain_port, "sslmode=prefer"), "f"),
        (url("127.0.0.1", port, "sslmode=disable"), "f"),
    ] {
        let mut service = start_payment(accepted.clone());
        service.wait_until_ready().await;
        let server = if accepted.contains(&plain_port.to_string()) {
            plain_port
        } else {
            port
        };
        assert_eq!(encryption(server).await, encrypted, "{accepted}");
        service.process.stop().await.unwrap();
    }
    let unknown = "invalid peer certificate";
    for (rejected, why, expected) in [
        (
            url("127.0.0.1", port, &root(&certificates.root)),
            "a name that is not in the certificate",
            "not valid for name",
        ),
        (
            url("localhost", port, &root(&other_authority.root)),
            "an authority that did not sign the certificate",
            unknown,
        ),
        (
            url(
                "localhost",
                port,
                &with_root("verify-ca", &other_authority.root),
            ),
            "an authority that did not sign the certificate, without a check of the name",
            unknown,
        ),
        (
            url("localhost", port, "sslmode=verify-full"),
            "an authority that this machine does not trust",
            "",
        ),
        (
            url("localhost", port, "sslrootcert=system"),
            "the same, with verify-full as the default of sslrootcert=system",
            "",
        ),
        (
            url("localhost", authority_port, &root(&certificates.root)),
            "the certificate of an authority instead of a server certificate",
            "of a certificate authority (CA:TRUE)",
        ),
        (
            url("127.0.0.1", plain_port, "sslmode=require"),
            "a server without TLS",
            "TLS",
        ),
    ] {
        assert_connection_fails(rejected, why, expected).await;
    }
    tls.end().await;
    authority.end().await;
    plain.end().await;
    std::fs::remove_dir_all(directory).unwrap();
}

/// Whether the sessions of the service on a server are encrypted: `t` or `f`.
async fn encryption(port: u16) -> String {
    let observer = format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable&application_name=observer"
    );
    let (client, connection) = tokio_postgres::connect(&observer, NoTls).await.unwrap();
    tokio::spawn(connection);
    let statement = "SELECT DISTINCT CASE WHEN ssl THEN 't' ELSE 'f' END
        FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'valerix'";
    eventually("the service's sessions", async || {
        let rows = client.query(statement, &[]).await.unwrap();
        (rows.len() == 1).then(|| rows[0].get(0))
    })
    .await
}
