//! A disk that is really full, and a standby that really rejects writes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::dedicated_postgres::{
    DedicatedPostgres, assert_database_unavailable, place_order, wait_until_orders_are_accepted,
};
use crate::harness::{Service, WAIT_TIMEOUT, eventually, free_port};

/// Enough for a new server and its write-ahead log, and quickly filled.
const MOUNT_OPTIONS: &str = "size=160m,mode=755";

/// A small file system in memory, with the server's log file outside it. Both are removed at the
/// end of the test, also when it fails.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts the file system; `None` if the user may not mount anything.
    fn mount() -> Option<Self> {
        let at = std::env::temp_dir().join(format!(
            "valerix-disk-{}-{}",
            std::process::id(),
            free_port()
        ));
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", MOUNT_OPTIONS, "valerix-test"])
            .arg(&at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            let disk = Self(at);
            // The log must not be on the full disk, where the messages about it would be lost.
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

    /// Fills the disk to the last byte.
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
        // Lazily, because the server of a failed test may not have ended yet.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
        let _ = std::fs::remove_file(self.log());
    }
}

/// Places orders until one is rejected. Pages that are already allocated have room for some.
async fn order_until_rejected(service: &Service) {
    eventually("an order to be rejected", async || {
        let responses = futures_util::future::join_all((0..20).map(|_| place_order(service))).await;
        let mut rejected = responses
            .iter()
            .filter(|response| response.status != 202)
            .peekable();
        rejected.peek()?;
        rejected.for_each(assert_database_unavailable);
        Some(())
    })
    .await;
}

/// Writes to the write-ahead log until it has no space left. Each round has a session of its own,
/// because the server may end it.
async fn fill_write_ahead_log(url: &str) {
    // The message is written to the log alone: no table has to grow for it.
    let write = "SELECT pg_logical_emit_message(false, 'test', 'fill'); SELECT pg_switch_wal()";
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            let _ = client.batch_execute(write).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[track_caller]
fn assert_logged(postgres: &DedicatedPostgres, wanted: &str) {
    let log = postgres.log();
    assert!(
        log.contains(wanted) && log.contains("No space left on device"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_rejects_orders_in_time_and_freed_space_lets_them_in_again() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: only root can mount a small file system");
        return;
    };
    let mut postgres = DedicatedPostgres::start_in(
        disk.0.clone(),
        vec!["min_wal_size=32MB".into(), "max_wal_size=64MB".into()],
    )
    .await;
    let service = postgres.order_service(&[("DATABASE_POOL_SIZE", "3")]).await;
    assert_eq!(place_order(&service).await.status, 202);

    disk.fill();
    order_until_rejected(&service).await;
    assert_eq!(
        service.get("/orders").await.status,
        200,
        "reads need no space"
    );
    assert_eq!(service.get("/livez").await.status, 200);
    disk.make_space();
    wait_until_orders_are_accepted(&service).await;
    assert_logged(&postgres, "could not extend file");

    // Without space for the write-ahead log, the server cannot end a transaction and panics.
    disk.fill();
    let url = postgres.server.url("postgres");
    tokio::select! {
        () = postgres.server.ended() => {}
        () = fill_write_ahead_log(&url) => {}
        () = tokio::time::sleep(WAIT_TIMEOUT) => panic!("the server still runs"),
    }
    assert_database_unavailable(&place_order(&service).await);
    disk.make_space();
    postgres.server.restart().await.unwrap();
    wait_until_orders_are_accepted(&service).await;
    assert_logged(&postgres, "PANIC");
    let failed = service
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "a full disk is not an internal error");
    postgres.stop().await;
}

fn standby_signal(root: &Path) -> PathBuf {
    root.join("data/standby.signal")
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_rejected_by_a_standby_until_it_is_promoted() {
    let mut postgres = DedicatedPostgres::start(Vec::new()).await;
    let service = postgres.order_service(&[]).await;
    place_order(&service).await;

    postgres.server.stop().await;
    std::fs::write(standby_signal(&postgres.root), "").unwrap();
    postgres.server.restart().await.unwrap();
    let read_only = "does not allow writes";
    eventually(
        "the service to log that the server is read-only",
        async || {
            assert_database_unavailable(&place_order(&service).await);
            service
                .lines()
                .iter()
                .any(|line| line.contains(read_only))
                .then_some(())
        },
    )
    .await;
    postgres.execute(&["SELECT pg_promote()"]).await;
    wait_until_orders_are_accepted(&service).await;
    let failed = service
        .lines()
        .into_iter()
        .find(|line| line.contains("request failed"));
    assert_eq!(failed, None, "a standby is not an internal error");
    postgres.end().await;
}
