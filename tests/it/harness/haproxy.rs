//! HAProxy as `deploy/haproxy/haproxy.cfg` has it, with addresses of the test's own in it.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{eventually, free_port};

/// Where each service's replicas listen, or may listen later.
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

/// HAProxy, all its processes in one group.
pub struct Balancer {
    pub order: String,
    pub inventory: String,
    pub payment: String,
    statistics: String,
    /// Of the four frontends, in their order in the file.
    ports: [u16; 4],
    file: PathBuf,
    child: Child,
    watcher: Child,
    /// When this closes, however the test process ends, the watcher ends the whole group and
    /// removes the file.
    lifeline: Option<ChildStdin>,
    http: reqwest::Client,
}

impl Balancer {
    pub fn start(replicas: &Replicas) -> Self {
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let file = std::env::temp_dir().join(format!(
            "valerix-haproxy-{}-{}",
            std::process::id(),
            ports[0]
        ));
        std::fs::write(&file, filled_in(ports, replicas)).unwrap();
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
            .expect("haproxy, which scripts/install-haproxy installs");
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

    /// As `systemctl reload haproxy`: a new process takes over, the old one finishes what it has.
    pub fn reload(&self, replicas: &Replicas) {
        std::fs::write(&self.file, filled_in(self.ports, replicas)).unwrap();
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGUSR2,
        )
        .unwrap();
    }

    /// Waits until so many replicas have passed their checks.
    pub async fn sees(&self, service: &str, count: usize) {
        eventually(
            &format!("{count} of {service} to be in the balancer"),
            async || {
                let request = self.http.get(format!("{}/;csv", self.statistics));
                let table = request.send().await.ok()?.text().await.ok()?;
                let is_well = |line: &&str| {
                    line.starts_with(&format!("{service},{service}-"))
                        && line.contains(",UP,")
                        && line.contains(",L7OK,")
                };
                (table.lines().filter(is_well).count() == count).then_some(())
            },
        )
        .await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.watcher.wait();
        let _ = self.child.wait();
    }
}

/// The file as it is, but for ports and replicas.
fn filled_in(ports: [u16; 4], replicas: &Replicas) -> String {
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
            // Those of the test stand below the backend's name.
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
