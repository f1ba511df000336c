//! A disk that is full, and a database that only reads, for real: the kernel's and PostgreSQL's own
//! refusals.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::own::{Own, is_refused, place, takes_orders_again};
use crate::harness::{PATIENCE, Service, eventually, free_port};

/// Enough for a fresh server and its log of changes, and soon filled.
const SIZE: &str = "size=160m,mode=755";

/// A file system of its own in memory, and a server's log beside it; gone at the test's end,
/// however it ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing where this machine lets us mount nothing.
    fn mount() -> Option<Self> {
        let at = std::env::temp_dir().join(format!(
            "valerix-disk-{}-{}",
            std::process::id(),
            free_port()
        ));
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "valerix-test"])
            .arg(&at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            let disk = Self(at);
            // What the server says of the full disk must not be lost on it.
            let inside = disk.0.join("postgres.log");
            for file in [&disk.log(), &inside] {
                std::fs::write(file, "").unwrap();
            }
            let bound = Command::new("mount")
                .arg("--bind")
                .args([&disk.log(), &inside])
                .status();
            assert!(bound.unwrap().success());
            return Some(disk);
        }
        std::fs::remove_dir(&at).unwrap();
        None
    }

    fn log(&self) -> PathBuf {
        self.0.with_extension("log")
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// To the last byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for piece in [1 << 20, 1 << 12] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn make_space(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test leaves may be about to end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
        let _ = std::fs::remove_file(self.log());
    }
}

/// Orders until one is turned away: pages that are there already take some more.
async fn until_refused(service: &Service) {
    eventually("an order to be refused", async || {
        let answers = futures_util::future::join_all((0..20).map(|_| place(service))).await;
        let mut refused = answers
            .iter()
            .filter(|answer| answer.status != 202)
            .peekable();
        refused.peek()?;
        refused.for_each(is_refused);
        Some(())
    })
    .await;
}

/// In sessions of its own, each of which the server may end.
async fn use_up_the_log(url: &str) {
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            let _ = client
                .batch_execute("CREATE TEMPORARY TABLE t (); SELECT pg_switch_wal()")
                .await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[track_caller]
fn said(own: &Own, wanted: &str) {
    let log = own.log();
    assert!(
        log.contains(wanted) && log.contains("No space left on device"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_turns_orders_away_in_time_and_space_is_all_it_takes_to_go_on() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a small file system cannot be mounted here; as root it can");
        return;
    };
    let mut own = Own::start_in(
        disk.0.clone(),
        vec!["min_wal_size=32MB".into(), "max_wal_size=64MB".into()],
    )
    .await;
    let service = own.order_service(&[("DATABASE_POOL_SIZE", "3")]).await;
    assert_eq!(place(&service).await.status, 202);

    disk.fill();
    until_refused(&service).await;
    assert_eq!(
        service.get("/orders").await.status,
        200,
        "reading needs no space"
    );
    assert_eq!(service.get("/livez").await.status, 200);
    disk.make_space();
    takes_orders_again(&service).await;
    said(&own, "could not extend file");

    // Without space for its log of changes a server cannot even end a transaction, and gives up.
    disk.fill();
    let url = own.server.url("postgres");
    tokio::select! {
        () = own.server.ended() => {}
        () = use_up_the_log(&url) => {}
        () = tokio::time::sleep(PATIENCE) => panic!("the server goes on"),
    }
    is_refused(&place(&service).await);
    disk.make_space();
    own.server.restart().await.unwrap();
    takes_orders_again(&service).await;
    said(&own, "PANIC");
    let failed = service
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "a full disk is not the service's mistake");
    own.stop().await;
}

fn standby_signal(root: &Path) -> PathBuf {
    root.join("data/standby.signal")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_not_written_to_until_it_is_promoted() {
    let mut own = Own::start(Vec::new()).await;
    let service = own.order_service(&[]).await;
    place(&service).await;

    own.server.stop().await;
    std::fs::write(standby_signal(&own.root), "").unwrap();
    own.server.restart().await.unwrap();
    let told = "does not allow writes";
    eventually("the standby to be known as one", async || {
        is_refused(&place(&service).await);
        service
            .lines()
            .iter()
            .any(|line| line.contains(told))
            .then_some(())
    })
    .await;
    own.execute(&["SELECT pg_promote()"]).await;
    takes_orders_again(&service).await;
    let failed = service
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "a standby is not the service's mistake");
    own.end().await;
}
