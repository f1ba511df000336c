//! wrk as a child process, with `orders.lua`.

use std::process::Stdio;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::fallible::Fallible;
use crate::latency::Latency;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/orders/orders.lua");
/// wrk does not count latencies above this limit. An order takes far less.
const TIMEOUT: &str = "20s";

/// The load of one wrk run.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: u32,
    /// The number of products that the orders are spread over. `None`: all orders are for
    /// `PROD-001`.
    pub products: Option<u32>,
    pub seconds: u32,
    /// The average pause between two orders of one client.
    pub pause_ms: u32,
}

/// The result of one wrk run. Latencies are in microseconds.
#[derive(Debug, Deserialize)]
pub struct Measurement {
    pub seconds: f64,
    pub requests: u32,
    /// The number of answers with an error status.
    pub refused: u32,
    /// The number of connections that failed, and of requests without an answer.
    pub broken: u32,
    p50: u32,
    p90: u32,
    p99: u32,
    max: u32,
}

impl Measurement {
    pub fn latency(&self) -> Latency {
        let milliseconds = |micros: u32| f64::from(micros) / 1000.0;
        Latency {
            p50: milliseconds(self.p50),
            p90: milliseconds(self.p90),
            p99: milliseconds(self.p99),
            max: milliseconds(self.max),
        }
    }

    /// The number of requests that failed, for any reason.
    pub const fn failed(&self) -> u32 {
        self.refused + self.broken
    }
}

/// A running wrk. Dropping this value kills it.
pub struct Wrk(Child);

impl Wrk {
    /// `url` is the order service's.
    pub fn start(url: &str, load: &Load) -> Fallible<Self> {
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--timeout", TIMEOUT, "--script", SCRIPT]);
        command.args(["--connections", &load.clients.to_string()]);
        command.args(["--duration", &format!("{}s", load.seconds), url]);
        command.env("PRODUCTS", load.products.unwrap_or_default().to_string());
        command.env("PAUSE_MS", load.pause_ms.to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("wrk: {error}"))?;
        Ok(Self(child))
    }

    /// Ends the load early. wrk still reports what it measured.
    pub fn stop(&self) -> Fallible<()> {
        if let Some(pid) = self.0.id() {
            signal::kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
        }
        Ok(())
    }

    pub async fn finish(self) -> Fallible<Measurement> {
        let output = self.0.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.lines().rfind(|line| line.starts_with('{')) else {
            return Err(format!("wrk: {}{text}", String::from_utf8_lossy(&output.stderr)).into());
        };
        Ok(serde_json::from_str(line)?)
    }
}
