//! The database in trouble, and TLS on the way to it: on servers of the tests' own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use nix::unistd::{Uid, User, chown};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_postgres::NoTls;

use crate::harness::own::{BOUND, Own, RELOAD, is_refused, place, takes_orders_again};
use crate::harness::{Service, Stack, eventually, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_database_is_answered_in_time_and_got_over_without_a_restart() {
    let mut own = Own::start(vec!["max_connections=50".to_owned()]).await;
    let service = own.order_service(&[("DATABASE_POOL_SIZE", "3")]).await;
    assert_eq!(place(&service).await.status, 202);

    own.execute(&[
        "ALTER SYSTEM SET default_transaction_read_only = on",
        RELOAD,
    ])
    .await;
    eventually("the database to refuse writes", async || {
        let answer = place(&service).await;
        (answer.status != 202).then(|| is_refused(&answer))
    })
    .await;
    let writable = "SET default_transaction_read_only = off";
    own.execute(&[
        writable,
        "ALTER SYSTEM RESET default_transaction_read_only",
        RELOAD,
    ])
    .await;
    takes_orders_again(&service).await;

    let kill = ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'valerix' AND pid <> pg_backend_pid()"];
    own.execute(&kill).await;
    takes_orders_again(&service).await;

    let locker = own.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE")
        .await
        .unwrap();
    let blocked = futures_util::future::join_all((0..30).map(|_| place(&service))).await;
    blocked.iter().for_each(is_refused);
    let in_flight = async {
        let answer = place(&service).await;
        assert!(answer.took < BOUND, "{:?}", answer.took);
    };
    tokio::join!(in_flight, own.execute(&kill));
    locker.batch_execute("ROLLBACK").await.unwrap();
    takes_orders_again(&service).await;

    own.server.stop().await;
    is_refused(&place(&service).await);
    service.get("/readyz").await.is_problem(503, "not-ready");
    assert_eq!(
        service.get("/health").await.json()["dependencies"]["database"],
        "disconnected"
    );
    own.server.restart().await.unwrap();
    takes_orders_again(&service).await;
    let failed = service
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(
        failed, None,
        "trouble of the database is not the service's mistake"
    );
    own.end().await;
}

/// Ended at any moment, also between a commit and its acknowledgement: whoever is answered is told
/// what is so, or that it is not known.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_while_customers_order_cost_no_order_and_are_nobodys_mistake() {
    const CUSTOMERS: usize = 8;
    const ROUNDS: usize = 40;
    let stack = Stack::start().await;
    stack
        .database
        .execute("UPDATE inventory SET stock = 1000000, stocked = 1000000")
        .await;
    let ended = AtomicBool::new(false);
    let shop = async || {
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
            // Long enough for some orders in between.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        ended.store(true, Ordering::Relaxed);
    };
    let (statuses, ()) = tokio::join!(join_all((0..CUSTOMERS).map(|_| shop())), end_sessions);
    println!("{statuses:?}");
    let known = |status: &u16| [201, 202, 503].contains(status);
    let told = stack
        .lines()
        .into_iter()
        .filter(|line| line.contains("request failed"))
        .collect::<Vec<_>>();
    assert!(
        statuses.iter().flat_map(BTreeMap::keys).all(known) && told.is_empty(),
        "{statuses:?} {told:#?}"
    );
    stack.settled().await;
    stack.balances().await;
}

/// A certificate authority, and a server's certificate for `localhost` made by it.
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

    /// PostgreSQL wants its key to itself, and never runs as root.
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

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_database_is_encrypted_and_its_certificate_checked_as_the_mode_says() {
    let directory = std::env::temp_dir().join(format!("valerix-tls-{}", std::process::id()));
    let certificates = Certificates::make(&directory);
    let stranger = Certificates::make(&directory.join("stranger"));
    let with_tls = |port: u16, certificate: &Path, key: &Path| {
        Own::start(vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ])
    };
    let (port, authority_port) = (free_port(), free_port());
    let tls = with_tls(port, &certificates.certificate, &certificates.key).await;
    let authority = with_tls(authority_port, &certificates.root, &certificates.root_key).await;
    let plain_port = free_port();
    let plain = Own::start(vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={plain_port}"),
    ])
    .await;
    let url = |host: &str, port: u16, query: &str| {
        format!("postgres://postgres@{host}:{port}/postgres?{query}")
    };
    let with_root =
        |mode: &str, path: &Path| format!("sslmode={mode}&sslrootcert={}", path.display());
    let root = |path: &Path| with_root("verify-full", path);
    let encoded = root(&certificates.root)
        .replace('/', "%2F")
        .replace('@', "%40");
    let payment = |url: String| Service::start("payment", free_port(), &[("DATABASE_URL", url)]);

    for (welcome, encrypted) in [
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
        let mut service = payment(welcome.clone());
        service.ready().await;
        let server = if welcome.contains(&plain_port.to_string()) {
            plain_port
        } else {
            port
        };
        assert_eq!(encryption(server).await, encrypted, "{welcome}");
        service.process.stop().await.unwrap();
    }
    let unknown = "invalid peer certificate";
    for (refused, why, words) in [
        (
            url("127.0.0.1", port, &root(&certificates.root)),
            "a name that the certificate does not have",
            "not valid for name",
        ),
        (
            url("localhost", port, &root(&stranger.root)),
            "an authority that did not make it",
            unknown,
        ),
        (
            url("localhost", port, &with_root("verify-ca", &stranger.root)),
            "an authority that did not make it, whatever the name",
            unknown,
        ),
        (
            url("localhost", port, "sslmode=verify-full"),
            "an authority that this machine does not know",
            "",
        ),
        (
            url("localhost", port, "sslrootcert=system"),
            "the same, which is the default then",
            "",
        ),
        (
            url("localhost", authority_port, &root(&certificates.root)),
            "an authority's certificate in the place of a server's",
            "is that of a certificate authority (CA:TRUE)",
        ),
        (
            url("127.0.0.1", plain_port, "sslmode=require"),
            "a server without TLS",
            "TLS",
        ),
    ] {
        let service = payment(refused.clone());
        let told = eventually(&format!("{why} to be refused"), async || {
            service
                .lines()
                .into_iter()
                .find(|line| line.contains("waiting for the database"))
        })
        .await;
        assert!(told.contains(words), "{why}: {told}");
        service.get("/readyz").await.is_problem(503, "not-ready");
    }
    tls.end().await;
    authority.end().await;
    plain.end().await;
    std::fs::remove_dir_all(directory).unwrap();
}

/// Whether the service's own sessions on that server are encrypted: `t` or `f`.
async fn encryption(port: u16) -> String {
    let looker = format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable&application_name=looker"
    );
    let (client, connection) = tokio_postgres::connect(&looker, NoTls).await.unwrap();
    tokio::spawn(connection);
    let statement = "SELECT DISTINCT CASE WHEN ssl THEN 't' ELSE 'f' END FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name = 'valerix'";
    eventually("the service's sessions", async || {
        let rows = client.query(statement, &[]).await.unwrap();
        (rows.len() == 1).then(|| rows[0].get(0))
    })
    .await
}
