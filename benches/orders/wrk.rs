//! wrk as a child process, with `orders.lua`.

use std::process::Stdio;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::Fallible;
use crate::load::Load;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/orders/orders.lua");
/// wrk forgets latencies above its time limit; an order's own limits are far below this one.
const TIME_LIMIT: &str = "20s";

/// What wrk saw; latencies in microseconds.
#[derive(Debug, Deserialize)]
pub struct Seen {
    pub seconds: f64,
    pub requests: u32,
    /// Answers with an error status.
    pub refused: u32,
    /// Connections that failed, and answers that did not come.
    pub broken: u32,
    pub p50: u32,
    pub p90: u32,
    pub p99: u32,
    pub max: u32,
}

/// A running wrk. It ends with its handle.
pub struct Wrk(Child);

impl Wrk {
    pub fn start(address: &str, load: &Load) -> Fallible<Self> {
        let mut command = Command::new("wrk");
        command.args([
            "--threads",
            "1",
            "--timeout",
            TIME_LIMIT,
            "--script",
            SCRIPT,
        ]);
        command.arg("--connections").arg(load.clients.to_string());
        command
            .arg("--duration")
            .arg(format!("{}s", load.seconds))
            .arg(address);
        command.env("PRODUCTS", load.products.unwrap_or_default().to_string());
        command.env("PAUSE_MS", load.pause_ms.to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(Self(
            command.spawn().map_err(|error| format!("wrk: {error}"))?,
        ))
    }

    /// Ends the load before its time; what it saw is told all the same.
    pub fn stop(&self) -> Fallible<()> {
        if let Some(pid) = self.0.id() {
            signal::kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
        }
        Ok(())
    }

    pub async fn finish(self) -> Fallible<Seen> {
        let output = self.0.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.lines().rfind(|line| line.starts_with('{')) else {
            return Err(format!("wrk: {}{text}", String::from_utf8_lossy(&output.stderr)).into());
        };
        Ok(serde_json::from_str(line)?)
    }
}
