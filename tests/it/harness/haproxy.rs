//! HAProxy with the configuration of `deploy/haproxy/haproxy.cfg`, but with the test's addresses.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{eventually, free_port};

/// The ports on which each service's replicas listen now or later.
#[derive(Debug, Clone)]
pub struct Replicas {
    pub order: Vec<u16>,
    pub inventory: Vec<u16>,
    pub payment: Vec<u16>,
}

impl Replicas {
    fn of(&self, service: &str) -> &[u16] {
        match service {
            "order" => &self.order,
            "inventory" => &self.inventory,
            "payment" => &self.payment,
            other => panic!("no backend {other}"),
        }
    }
}

/// A running HAProxy, with all its processes in one process group.
pub struct HaProxy {
    pub order: String,
    pub inventory: String,
    pub payment: String,
    statistics: String,
    /// Ports of the four frontends, in the order of the configuration file.
    ports: [u16; 4],
    file: PathBuf,
    child: Child,
    watcher: Child,
    /// Closes when the test process ends, for whatever reason. The watcher then kills the process
    /// group and removes the file.
    lifeline: Option<ChildStdin>,
    http: reqwest::Client,
}

impl HaProxy {
    pub fn start(replicas: &Replicas) -> Self {
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let file = std::env::temp_dir().join(format!(
            "valerix-haproxy-{}-{}",
            std::process::id(),
            ports[0]
        ));
        std::fs::write(&file, configuration(ports, replicas)).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("haproxy")
            .arg("-W")
            .arg("-f")
            .arg(&file)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("HAProxy is installed by scripts/install-haproxy");
        let mut watcher = Command::new("sh");
        let script = "cat; kill -s KILL -- -\"$0\" 2>/dev/null; rm -f \"$1\"";
        watcher
            .args(["-c", script, &child.id().to_string()])
            .arg(&file)
            .process_group(0);
        let mut watcher = watcher.stdin(Stdio::piped()).spawn().unwrap();
        let lifeline = watcher.stdin.take();
        let [order, inventory, payment, statistics] =
            ports.map(|port| format!("http://127.0.0.1:{port}"));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            order,
            inventory,
            payment,
            statistics,
            ports,
            file,
            child,
            watcher,
            lifeline,
            http,
        }
    }

    /// Does what `systemctl reload haproxy` does: a new process takes over, and the old one
    /// finishes its connections.
    pub fn reload(&self, replicas: &Replicas) {
        std::fs::write(&self.file, configuration(self.ports, replicas)).unwrap();
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGUSR2,
        )
        .unwrap();
    }

    /// Waits until exactly `count` replicas pass their health checks.
    pub async fn wait_for_replicas(&self, service: &str, count: usize) {
        eventually(
            &format!("HAProxy to see {count} replicas of {service}"),
            async || {
                let request = self.http.get(format!("{}/;csv", self.statistics));
                let table = request.send().await.ok()?.text().await.ok()?;
                let is_healthy = |line: &&str| {
                    line.starts_with(&format!("{service},{service}-"))
                        && line.contains(",UP,")
                        && line.contains(",L7OK,")
                };
                (table.lines().filter(is_healthy).count() == count).then_some(())
            },
        )
        .await;
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.watcher.wait();
        let _ = self.child.wait();
    }
}

/// The project's configuration file with other ports and replicas.
fn configuration(ports: [u16; 4], replicas: &Replicas) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy/haproxy.cfg");
    let mut ports = ports.into_iter();
    let mut text = String::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if line.starts_with("    bind ") {
            writeln!(
                text,
                "    bind 127.0.0.1:{}",
                ports.next().expect("four frontends")
            )
            .unwrap();
        } else if line.starts_with("    server ") {
            // The test's servers are listed directly below the name of their backend.
        } else {
            writeln!(text, "{line}").unwrap();
        }
        if let Some(service) = line.strip_prefix("backend ") {
            for (number, port) in (1..).zip(replicas.of(service)) {
                writeln!(text, "    server {service}-{number} 127.0.0.1:{port}").unwrap();
            }
        }
    }
    assert_eq!(ports.next(), None, "four frontends");
    text
}
