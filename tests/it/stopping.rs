//! Every command that starts processes ends them and removes its files, whichever signal stops it.
//! A command whose output cannot be written does not panic.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{PROGRAM, Service, Stack, TestDatabase, eventually, free_port};

/// A campaign that would take long, without lines about its progress.
const PROVE: [&str; 7] = [
    "prove",
    "--orders",
    "100000",
    "--kills",
    "1000",
    "--progress",
    "none",
];

/// The temporary directory for the programs of one test, which shows what they leave behind.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stopping-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // Started by root, the database server runs as another user.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        Self(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env("TMPDIR", &self.0)
            .env_remove("DATABASE_URL");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// A demo with its data in this directory, on free ports.
    fn demo(&self) -> Command {
        let mut command = self.command(&["demo", "--data-dir"]);
        command.arg(self.0.join("demo"));
        for flag in ["--order-port", "--inventory-port", "--payment-port"] {
            command.arg(flag).arg(free_port().to_string());
        }
        command
    }

    /// Processes whose arguments name this directory, such as database servers.
    fn processes(&self) -> Vec<i32> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let path = self.0.to_str().unwrap().as_bytes().to_vec();
        let is_ours = |pid: &i32| {
            let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            text.windows(path.len()).any(|window| window == path)
        };
        pids.filter(is_ours).collect()
    }

    fn has_server(&self) -> bool {
        let is_server = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "postgres")
        };
        self.processes().iter().any(is_server)
    }

    fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Checks that a program that has ended left no process and no file, except a demo's data.
    #[track_caller]
    fn assert_clean(&self) {
        assert_eq!(self.processes(), [0; 0]);
        let left: Vec<_> = self
            .entries()
            .into_iter()
            .filter(|name| name != "demo")
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(
        Pid::from_raw(child.id().unwrap().try_into().unwrap()),
        signal,
    )
    .unwrap();
}

/// Reads lines until one contains the text, and returns the rest of the output.
async fn read_until(child: &mut Child, text: &str) -> BufReader<tokio::process::ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(
            output.read_line(&mut line).await.unwrap() > 0,
            "the output ended before '{text}'"
        );
    }
    output
}

/// Waits until the process has ended.
async fn ended(child: Child) -> Output {
    tokio::time::timeout(crate::harness::WAIT_TIMEOUT, child.wait_with_output())
        .await
        .expect("the process ends")
        .unwrap()
}

async fn read_stderr(child: &mut Child) -> String {
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_whose_output_is_closed_ends_without_a_message_and_leaves_no_process() {
    let temporary = Temporary::new("demo-pipe");
    for text in ["started as process", "Valerix is running"] {
        let mut demo = temporary.demo().spawn().unwrap();
        drop(read_until(&mut demo, text).await);
        let output = ended(demo).await;
        assert_eq!(
            (output.status.code(), &*output.stderr),
            (Some(0), &b""[..]),
            "{output:?}"
        );
        temporary.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_ends_all_its_processes_on_each_signal() {
    let temporary = Temporary::new("demo-signals");
    for sent in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut demo = temporary.demo().spawn().unwrap();
        let output = read_until(&mut demo, "Valerix is running").await;
        signal(&demo, sent);
        assert_eq!(ended(demo).await.status.code(), Some(0), "{sent}");
        drop(output);
        temporary.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_under_nohup_ignores_sighup() {
    let temporary = Temporary::new("nohup");
    let demo = temporary.demo();
    let mut nohup = Command::new("nohup");
    nohup
        .arg(PROGRAM)
        .args(demo.as_std().get_args())
        .env("TMPDIR", &temporary.0)
        .env_remove("DATABASE_URL");
    nohup
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut demo = nohup.spawn().unwrap();
    let mut output = read_until(&mut demo, "Valerix is running").await;
    signal(&demo, Signal::SIGHUP);
    signal(&demo, Signal::SIGTERM);
    let mut rest = String::new();
    output.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.contains("SIGTERM") && !rest.contains("SIGHUP"),
        "{rest}"
    );
    assert_eq!(ended(demo).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_cannot_write_its_output_reports_it_once_and_ends() {
    let temporary = Temporary::new("demo-full");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let demo = temporary.demo().stdout(full).spawn().unwrap();
    let output = ended(demo).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.lines().count()),
        (Some(1), 1),
        "{stderr}"
    );
    assert!(
        stderr.starts_with("valerix: cannot write to standard output: "),
        "{stderr}"
    );
    temporary.assert_clean();
}

/// A pager, for example, keeps the output open without reading it.
#[tokio::test(flavor = "multi_thread")]
async fn a_demo_whose_output_is_blocked_still_stops() {
    let temporary = Temporary::new("demo-blocked");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
    writer
        .write_all(&vec![b'.'; size.try_into().unwrap()])
        .unwrap();
    let demo = temporary.demo().stdout(writer).spawn().unwrap();
    eventually("the services to run", async || {
        (temporary.processes().len() > 1).then_some(())
    })
    .await;
    signal(&demo, Signal::SIGTERM);
    let output = ended(demo).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    drop(reader);
    temporary.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_and_soak_tests_clean_up_on_each_signal() {
    let temporary = Temporary::new("campaigns");
    for (arguments, sent, code) in [
        (&PROVE[..], Signal::SIGTERM, 143),
        (&PROVE, Signal::SIGINT, 130),
        (&["soak", "--minutes", "6"], Signal::SIGHUP, 129),
    ] {
        let child = temporary.command(arguments).spawn().unwrap();
        eventually("the database server to run", async || {
            temporary.has_server().then_some(())
        })
        .await;
        signal(&child, sent);
        let output = ended(child).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), stderr.lines().count()),
            (Some(code), 1),
            "{arguments:?}: {stderr}"
        );
        temporary.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_whose_output_is_closed_ends_without_a_message() {
    let temporary = Temporary::new("campaign-pipe");
    let mut child = temporary.command(&PROVE).spawn().unwrap();
    eventually("the database server to run", async || {
        temporary.has_server().then_some(())
    })
    .await;
    drop(child.stdout.take());
    let stderr = read_stderr(&mut child).await;
    assert_eq!(
        (ended(child).await.status.code(), &*stderr),
        (Some(141), "")
    );
    temporary.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_tour_ends_the_platform_that_it_started() {
    let temporary = Temporary::new("tour");
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let mut tour = temporary
        .command(&["gremlin", "tour"])
        .env("ORDER_SERVICE_URL", nowhere)
        .spawn()
        .unwrap();
    let output = read_until(&mut tour, "An order while everything works").await;
    signal(&tour, Signal::SIGTERM);
    assert_eq!(ended(tour).await.status.code(), Some(143));
    drop(output);
    temporary.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tour_whose_output_is_closed_leaves_no_fault_behind() {
    let stack = Stack::start().await;
    let temporary = Temporary::new("tour-pipe");
    let mut tour = temporary.command(&["gremlin", "tour"]);
    tour.env("ORDER_SERVICE_URL", &stack.order.url);
    tour.env("INVENTORY_SERVICE_URL", &stack.inventory.url)
        .env("PAYMENT_SERVICE_URL", &stack.payment.url);
    let mut tour = tour.spawn().unwrap();
    drop(read_until(&mut tour, "delays every response of inventory by 3 s").await);
    let output = ended(tour).await;
    assert_eq!(
        (output.status.code(), &*output.stderr),
        (Some(141), &b""[..]),
        "{output:?}"
    );
    let latency = stack.inventory.get("/gremlin/latency").await.json();
    assert_eq!(latency["enabled"], false, "{latency}");
}

#[tokio::test]
async fn output_to_a_closed_pipe_or_a_full_disk_causes_no_panic() {
    let temporary = Temporary::new("completions");
    let mut child = temporary.command(&["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = ended(child).await;
    assert_eq!(
        (output.status.code(), &*output.stderr),
        (Some(0), &b""[..]),
        "{output:?}"
    );
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = ended(
        temporary
            .command(&["completions", "bash"])
            .stdout(full())
            .spawn()
            .unwrap(),
    )
    .await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.lines().count()),
        (Some(1), 1),
        "{stderr}"
    );
    let both = temporary
        .command(&["completions", "bash"])
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    assert_eq!(ended(both).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_keeps_working_when_its_log_cannot_be_written() {
    let database = TestDatabase::create().await;
    let temporary = Temporary::new("service");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let port = free_port();
    let mut command = temporary.command(&["inventory"]);
    command
        .env("DATABASE_URL", database.url())
        .env("PORT", port.to_string())
        .env("RUST_LOG", "debug");
    let child = command.stdout(full()).stderr(full()).spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    eventually("the service to be ready", async || {
        let response = reqwest::get(format!("{url}/readyz")).await.ok()?;
        response.status().is_success().then_some(())
    })
    .await;
    for _ in 0..3 {
        assert_eq!(
            reqwest::get(format!("{url}/inventory"))
                .await
                .unwrap()
                .status(),
            200
        );
        assert_eq!(
            reqwest::get(format!("{url}/nothing"))
                .await
                .unwrap()
                .status(),
            404
        );
    }
    signal(&child, Signal::SIGTERM);
    assert_eq!(ended(child).await.status.code(), Some(0));
}

/// The first process of a container gets only the signals that it handles.
#[tokio::test(flavor = "multi_thread")]
async fn commands_that_wait_for_a_database_handle_sigterm() {
    let temporary = Temporary::new("listening");
    let unresponsive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unresponsive.local_addr().unwrap();
    let url = format!("postgres://u@{address}/x?sslmode=disable");
    for arguments in [
        &["migrate", "--database-url", &url][..],
        &["audit", "--database-url", &url],
    ] {
        let child = temporary.command(arguments).spawn().unwrap();
        let (connection, _) = unresponsive.accept().await.unwrap();
        signal(&child, Signal::SIGTERM);
        assert_eq!(ended(child).await.status.code(), Some(143), "{arguments:?}");
        drop(connection);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_reports_the_orders_that_it_sent() {
    let stack = Stack::start().await;
    let temporary = Temporary::new("load");
    let arguments = [
        "load",
        "--json",
        "--url",
        &stack.order.url,
        "--rate",
        "50",
        "--seconds",
        "3600",
    ];
    let child = temporary.command(&arguments).spawn().unwrap();
    eventually("the load to begin", async || {
        (stack.database.count("SELECT count(*) FROM orders").await > 5).then_some(())
    })
    .await;
    signal(&child, Signal::SIGINT);
    let output = ended(child).await;
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = &report["steps"][0];
    let responses: u64 = step["answers"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert!(
        step["sent"].as_u64().unwrap() > 5 && step["sent"] == responses,
        "{step}"
    );
}

#[tokio::test]
async fn a_load_without_any_response_could_not_run() {
    let temporary = Temporary::new("load-nothing");
    let url = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        "load",
        "--json",
        "--url",
        &url,
        "--rate",
        "5",
        "--seconds",
        "1",
    ];
    let output = ended(temporary.command(&arguments).spawn().unwrap()).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.lines().count()),
        (Some(2), 1),
        "{stderr}"
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["steps"][0]["answers"]["none"], 5, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gremlin_off_reaches_the_other_services_when_some_do_not_run() {
    let database = TestDatabase::create().await;
    let payment = Service::start("payment", free_port(), &[("DATABASE_URL", database.url())]);
    payment.wait_until_ready().await;
    payment.set_latency(true, 10).await;
    let temporary = Temporary::new("gremlin-off");
    let mut command = temporary.command(&["gremlin", "off", "--service", "all"]);
    let unused_address = || format!("http://127.0.0.1:{}", free_port());
    command
        .env("ORDER_SERVICE_URL", unused_address())
        .env("INVENTORY_SERVICE_URL", unused_address());
    let child = command
        .env("PAYMENT_SERVICE_URL", &payment.url)
        .spawn()
        .unwrap();
    let output = ended(child).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.lines().count()),
        (Some(1), 2),
        "{stderr}"
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("payment-service")
    );
    assert_eq!(
        payment.get("/gremlin/latency").await.json()["enabled"],
        false
    );
}
