//! Tests of reading a `DATABASE_URL` and of connecting to its hosts.

use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_postgres::config::{self, TargetSessionAttrs};

use super::config::DEFAULT_CONNECT_TIMEOUT;
use super::database_url::DatabaseUrl;
use super::host::{Host, addresses_of, share_of};

#[test]
fn every_sslmode_is_accepted_and_an_unknown_one_is_rejected() {
    for query in [
        "sslmode=disable",
        "sslmode=prefer",
        "sslmode=require",
        "sslmode=verify-ca&sslrootcert=/a.pem",
        "sslmode=verify-full",
        "sslmode=verify-full&sslrootcert=system",
        "sslrootcert=system",
    ] {
        let url = DatabaseUrl::from_str(&format!("postgres://u:p@h:5432/db?{query}"));
        assert!(url.is_ok(), "{query}: {url:?}");
    }
    let error = DatabaseUrl::from_str("postgres://h/db?sslmode=maybe").unwrap_err();
    assert!(error.contains("sslmode"), "{error}");
}

fn hosts(url: &str) -> Vec<(String, u16)> {
    let url = DatabaseUrl::from_str(url).unwrap();
    let of = |host: &Host| {
        let address = match &host.config.get_hosts()[0] {
            config::Host::Tcp(name) => name.clone(),
            config::Host::Unix(path) => path.display().to_string(),
        };
        (address, host.config.get_ports()[0])
    };
    url.0.hosts.iter().map(of).collect()
}

#[test]
fn several_hosts_share_their_parameters() {
    let one_two = [("one".to_owned(), 5432), ("two".to_owned(), 6432)];
    for url in [
        "postgres://u:p@one,two:6432/db",
        "postgres://u:p@one:5432,two:6432/db?sslmode=verify-full&sslrootcert=/a,b",
        "postgres://one,two:6432?target_session_attrs=any",
    ] {
        assert_eq!(hosts(url), one_two, "{url}");
    }
    assert_eq!(hosts("postgres://[::1]:7,h/db")[0], ("::1".to_owned(), 7));
    for (url, socket) in [
        ("postgres://%2Frun%2Fa/db", "/run/a"),
        (
            "postgres://%2Frun%2Fjob%402%2Ca%3Ab%3Fc/db",
            "/run/job@2,a:b?c",
        ),
        ("postgres:///db?host=/run/a", "/run/a"),
    ] {
        assert_eq!(hosts(url), [(socket.to_owned(), 5432)], "{url}");
    }
    let url = DatabaseUrl::from_str("postgres://u:p%40@one,two/db").unwrap();
    for host in &url.0.hosts {
        assert_eq!(host.config.get_password(), Some(&b"p@"[..]));
        assert_eq!(host.config.get_dbname(), Some("db"));
    }
}

#[test]
fn parameters_can_hold_every_part_and_any_character() {
    let text = "postgres://h?user=u&pass%77ord=p@ss%26SECRET&dbname=d\
                &application_name=me@work's&options=-c%20a=b";
    let url = DatabaseUrl::from_str(text).unwrap();
    let config = &url.0.hosts[0].config;
    assert_eq!(config.get_user(), Some("u"));
    assert_eq!(config.get_password(), Some(&b"p@ss&SECRET"[..]));
    assert_eq!(config.get_dbname(), Some("d"));
    assert_eq!(config.get_application_name(), Some("me@work's"));
    assert_eq!(config.get_options(), Some("-c a=b"));
    assert!(!format!("{url} {url:?}").contains("SECRET"), "{url}");
    for text in ["postgres://h/db", "postgres://h/db?sslmode=disable"] {
        let named = DatabaseUrl::from_str(text)
            .unwrap()
            .with_password_for("a&b");
        let named = DatabaseUrl::from_str(&named).unwrap();
        assert_eq!(named.0.hosts[0].config.get_application_name(), Some("a&b"));
    }
}

#[test]
fn a_session_takes_writes_unless_the_url_says_otherwise() {
    for (query, attributes) in [
        ("", TargetSessionAttrs::ReadWrite),
        ("?sslmode=disable", TargetSessionAttrs::ReadWrite),
        (
            "?target_session_attrs=read-write",
            TargetSessionAttrs::ReadWrite,
        ),
        (
            "?target_session_attrs=primary",
            TargetSessionAttrs::ReadWrite,
        ),
        ("?target_session_attrs=any", TargetSessionAttrs::Any),
        (
            "?target_session_attrs=read-only",
            TargetSessionAttrs::ReadOnly,
        ),
    ] {
        let url = DatabaseUrl::from_str(&format!("postgres://h,i/db{query}")).unwrap();
        for host in &url.0.hosts {
            assert_eq!(
                host.config.get_target_session_attrs(),
                attributes,
                "{query}"
            );
        }
    }
}

#[test]
fn an_invalid_url_is_rejected_with_a_reason() {
    for (url, reason) in [
        ("", "postgres://"),
        ("mysql://h/db", "postgres://"),
        ("postgres://h:port/db", "port"),
        ("postgres://h:0/db", "port"),
        ("postgres://::1/db", "brackets"),
        ("postgres:///db", "no host"),
        ("postgres://one,,two/db", "no host"),
        ("postgres://one,two:port/db", "port"),
        ("postgres:///db?host=one,two", "host1:5432,host2:5432"),
        ("postgres://one/db?host=two", "host1:5432,host2:5432"),
        ("postgres://one/db?port=7", "host:5432"),
        ("postgres://u:p@ss@h/db", "%40"),
        ("postgres://h/db?nonsense=1", "nonsense"),
        ("postgres://h/db?PASSWORD=1", "PASSWORD"),
        ("postgres://h/db?password=a&b=c", "%26"),
        (
            "postgres://h/db?target_session_attrs=standby",
            "target_session_attrs takes read-write, primary",
        ),
        (
            "postgres://h/db?connect_timeout=0",
            "connect_timeout takes whole seconds",
        ),
        ("postgres://h/db?keepalives=x", "keepalives"),
        ("postgres://h/db?sslmode=verify-ca", "sslrootcert"),
        (
            "postgres://h/db?sslmode=verify-ca&sslrootcert=system",
            "verify-full",
        ),
        (
            "postgres://h/db?sslmode=require&sslrootcert=/a.pem",
            "verify-ca",
        ),
    ] {
        let error = DatabaseUrl::from_str(url).unwrap_err();
        assert!(error.contains(reason), "{url}: {error}");
    }
}

#[test]
fn the_url_sets_the_connect_timeout() {
    let timeout = |url: &str| DatabaseUrl::from_str(url).unwrap().0.connect_timeout;
    assert_eq!(timeout("postgres://h/db"), DEFAULT_CONNECT_TIMEOUT);
    assert_eq!(
        timeout("postgres://h/db?connect_timeout=7"),
        Duration::from_secs(7)
    );
}

#[tokio::test]
async fn the_last_ip_address_that_connected_is_tried_first() {
    let deadline = Instant::now() + Duration::from_secs(10);
    let all = addresses_of("localhost", 1, None, deadline).await.unwrap();
    let last = *all.last().unwrap();
    assert_eq!(
        addresses_of("localhost", 1, Some(last), deadline)
            .await
            .unwrap()[0],
        last
    );
    let gone = "192.0.2.1".parse().unwrap();
    assert_eq!(
        addresses_of("localhost", 1, Some(gone), deadline)
            .await
            .unwrap(),
        all
    );
}

#[tokio::test(start_paused = true)]
async fn ip_addresses_share_the_remaining_time_equally() {
    let deadline = Instant::now() + Duration::from_secs(2);
    assert_eq!(
        share_of(deadline, 2) - Instant::now(),
        Duration::from_secs(1)
    );
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(
        share_of(deadline, 3) - Instant::now(),
        Duration::from_millis(500)
    );
    assert_eq!(share_of(deadline, 1), deadline);
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(share_of(deadline, 1), Instant::now());
}

/// The server accepts the TCP connection and sends nothing.
#[tokio::test]
async fn a_silent_server_is_abandoned_after_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://u@127.0.0.1:{port}/db?connect_timeout=1&sslmode=disable");
    let started = Instant::now();
    let error = DatabaseUrl::from_str(&url)
        .unwrap()
        .connect()
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no response in time"), "{error}");
    assert!(
        started.elapsed() >= Duration::from_secs(1) && started.elapsed() < DEFAULT_CONNECT_TIMEOUT
    );
}
