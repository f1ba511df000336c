//! The data directory of a private PostgreSQL server: unusual names, strict umasks, and files that
//! other users have put there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use nix::unistd::Uid;
use valerix::platform::db::DatabaseUrl;
use valerix::testbed::postgres::{Home, PostgresError, Server, temporary_home};

use crate::harness::dedicated_postgres::DedicatedPostgres;
use crate::harness::{PROGRAM, eventually, free_port};

/// Characters that a CI server or a directory service may put into a path.
const UNUSUAL_NAME: &str = "job@2,a:b?c d'e\"f%40\\g";

/// The id of another user, which this machine does not have.
const OTHER_USER: Option<u32> = Some(54_321);

/// A new directory in the temporary directory, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(temporary_home("test").unwrap())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_can_have_any_name() {
    let parent = Directory::new();
    let postgres = DedicatedPostgres::start_in(parent.0.join(UNUSUAL_NAME), Vec::new()).await;
    DatabaseUrl::from_str(&postgres.server.url("postgres"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    postgres.execute(&["SELECT 1"]).await;
    let log = fs::metadata(postgres.root.join("postgres.log")).unwrap();
    assert_eq!(
        log.mode() & 0o777,
        0o600,
        "other users cannot read the statements in the log"
    );
    // The command that `demo` prints works in a shell. Its path has no comma, because psql takes
    // that for the end of a host.
    let plain = DedicatedPostgres::start_in(parent.0.join("it's a job@2"), Vec::new()).await;
    let select = format!("{} -Atc 'SELECT 42'", plain.server.psql_command("postgres"));
    let output = Command::new("sh").args(["-c", &select]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "42\n",
        "{select}: {output:?}"
    );
    postgres.end().await;
    plain.end().await;
}

/// `valerix prove` creates its data directory in the directory for temporary files.
fn prove(temporary: &Path, umask: &str) -> std::process::Output {
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &script,
        PROGRAM,
        "prove",
        "--orders",
        "1",
        "--kills",
        "0",
        "--database-restarts",
        "0",
    ]);
    command
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_runs_in_any_temporary_directory_and_under_any_umask() {
    for umask in ["027", "077"] {
        let parent = Directory::new();
        let temporary = parent.0.join(UNUSUAL_NAME);
        fs::create_dir(&temporary).unwrap();
        fs::set_permissions(&temporary, Permissions::from_mode(0o1777)).unwrap();
        let path = temporary.clone();
        let output = tokio::task::spawn_blocking(move || prove(&path, umask))
            .await
            .unwrap();
        // The campaign is too short to prove anything, so it ends as incomplete.
        assert_eq!(output.status.code(), Some(2), "umask {umask}: {output:?}");
        assert_eq!(
            fs::read_dir(&temporary).unwrap().count(),
            0,
            "the command removes its files"
        );
    }
}

/// The path of a socket is limited. With a long path of the data directory, the socket is in the
/// directory for temporary files.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_runs_with_a_long_path_and_a_strict_umask() {
    let parent = Directory::new();
    let (temporary, data) = (
        parent.0.join("t@,:?"),
        parent.0.join("long".repeat(25)).join("home"),
    );
    fs::create_dir(&temporary).unwrap();
    fs::set_permissions(&temporary, Permissions::from_mode(0o1777)).unwrap();
    let ports = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let script = "umask 077; exec \"$0\" \"$@\"";
    let mut demo = Command::new("sh")
        .args([
            "-c",
            script,
            PROGRAM,
            "demo",
            "--order-port",
            &ports[0],
            "--inventory-port",
            &ports[1],
        ])
        .args(["--payment-port", &ports[2], "--data-dir"])
        .arg(&data)
        .env("TMPDIR", &temporary)
        .env_remove("DATABASE_URL")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = format!("http://127.0.0.1:{}/readyz", ports[0]);
    eventually("the demo to be ready", async || {
        reqwest::get(&ready)
            .await
            .ok()
            .filter(|response| response.status().is_success())
    })
    .await;
    let sockets: Vec<_> = fs::read_dir(&temporary)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(sockets[0].metadata().unwrap().mode() & 0o777, 0o700);
    let pid = nix::unistd::Pid::from_raw(demo.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(demo.wait().unwrap().success());
    assert_eq!(
        fs::read_dir(&temporary).unwrap().count(),
        0,
        "the command removes its files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_a_data_directory_are_not_followed() {
    for name in ["lock", "postgres.log", "data", "data.new", "socket"] {
        let (home, target_directory) = (Directory::new(), Directory::new());
        let target = target_directory.0.join("target");
        if ["lock", "postgres.log"].contains(&name) {
            fs::write(&target, "untouched").unwrap();
        } else {
            fs::create_dir(&target).unwrap();
            fs::write(target.join("file"), "untouched").unwrap();
        }
        symlink(&target, home.0.join(name)).unwrap();
        let before = fs::metadata(&target).unwrap();
        let outcome = match Home::open(&home.0) {
            Ok(opened) if name == "lock" => opened
                .open_file("lock", fs::OpenOptions::new().read(true).write(true), 0o644)
                .map(drop),
            Ok(opened) => match Server::start(opened, Vec::new()).await {
                Ok(mut server) => {
                    server.stop().await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        // `data.new` remains of an interrupted start and is removed: here only the link itself.
        assert_eq!(outcome.is_ok(), name == "data.new", "{name}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(
                matches!(error, PostgresError::Link { .. }),
                "{name}: {error}"
            );
        }
        let after = fs::metadata(&target).unwrap();
        assert_eq!(
            (before.uid(), before.mode(), before.len()),
            (after.uid(), after.mode(), after.len()),
            "{name}"
        );
        let file = if target.is_dir() {
            target.join("file")
        } else {
            target
        };
        assert_eq!(fs::read_to_string(file).unwrap(), "untouched", "{name}");
    }
}

#[tokio::test]
async fn files_and_directories_of_other_users_are_rejected() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can change the owner of a file");
        return;
    }
    let home = Directory::new();
    fs::write(home.0.join("postgres.log"), "").unwrap();
    chown(home.0.join("postgres.log"), OTHER_USER, OTHER_USER).unwrap();
    let started = Server::start(Home::open(&home.0).unwrap(), Vec::new()).await;
    assert!(matches!(started.err(), Some(PostgresError::NotOurs { .. })));

    let hard_linked = Directory::new();
    fs::write(hard_linked.0.join("precious"), "").unwrap();
    fs::hard_link(hard_linked.0.join("precious"), hard_linked.0.join("lock")).unwrap();
    let opened = Home::open(&hard_linked.0).unwrap().open_file(
        "lock",
        fs::OpenOptions::new().write(true),
        0o644,
    );
    assert!(matches!(opened.err(), Some(PostgresError::NotOurs { .. })));

    let of_other_user = Directory::new();
    chown(&of_other_user.0, OTHER_USER, OTHER_USER).unwrap();
    assert!(matches!(
        Home::open(&of_other_user.0).err(),
        Some(PostgresError::OthersHome { .. })
    ));
    // A link of another user is rejected too, whatever its target.
    let link = home.0.join("link");
    symlink("/", &link).unwrap();
    std::os::unix::fs::lchown(&link, OTHER_USER, OTHER_USER).unwrap();
    assert!(matches!(
        Home::open(&link).err(),
        Some(PostgresError::OthersHome { .. })
    ));
}

#[tokio::test]
async fn the_demo_names_a_chosen_directory_without_server_programs() {
    let directory = Directory::new();
    let mut demo = tokio::process::Command::new(PROGRAM);
    demo.args(["demo", "--data-dir"]).arg(&directory.0);
    demo.env_remove("DATABASE_URL");
    let output = demo.env("POSTGRES_BIN_DIR", "/nowhere").output();
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = "POSTGRES_BIN_DIR is '/nowhere', a directory without the server programs of \
                    PostgreSQL 15 or newer";
    assert!(error.contains(expected), "{error}");
}
