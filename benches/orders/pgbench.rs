//! pgbench as a child process, with `pgbench_order.sql`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use valerix::testbed::postgres::Binaries;

use crate::Fallible;
use crate::load::Latency;
use crate::stage::Stage;
use crate::stats::float;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/orders/pgbench_order.sql"
);

pub struct Load {
    pub clients: u32,
    pub products: u32,
    /// Note each transaction's latency: only where there are few of them, since noting costs time
    /// as well.
    pub latencies: bool,
}

/// What pgbench saw.
pub struct Seen {
    pub orders: u32,
    pub per_second: f64,
    pub latency: Option<Latency>,
}

pub async fn run(stage: &Stage<'_>, load: &Load, seconds: u32) -> Fallible<Seen> {
    let mut command = Command::new(program()?);
    let threads = load.clients.min(2);
    command.args(["--no-vacuum", "--protocol=prepared", "--file", SCRIPT]);
    command
        .arg(format!("--client={}", load.clients))
        .arg(format!("--jobs={threads}"));
    command
        .arg(format!("--time={seconds}"))
        .arg(format!("--define=products={}", load.products));
    if load.latencies {
        command.args(["--log", "--log-prefix=pgbench"]);
    }
    command
        .arg(stage.scratch_url())
        .current_dir(stage.home())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(|error| format!("pgbench: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (Some(orders), Some(per_second)) = (
        after(&text, "number of transactions actually processed: "),
        after(&text, "tps = ").filter(|_| output.status.success()),
    ) else {
        return Err(format!("pgbench: {}{text}", String::from_utf8_lossy(&output.stderr)).into());
    };
    let latency = if load.latencies {
        Some(latencies(stage.home())?)
    } else {
        None
    };
    Ok(Seen {
        orders: orders.parse()?,
        per_second: per_second.parse()?,
        latency,
    })
}

/// Beside the server's other programs, or wherever the system puts it.
fn program() -> Fallible<PathBuf> {
    let beside = Binaries::find()?.path("pgbench");
    Ok(if beside.is_file() {
        beside
    } else {
        "pgbench".into()
    })
}

/// The word that follows.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.split_once(label)?.1.split_whitespace().next()
}

/// From the log: client, transaction, microseconds, …; removes it.
fn latencies(directory: &Path) -> Fallible<Latency> {
    let mut micros = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("pgbench."))
        {
            for line in std::fs::read_to_string(&path)?.lines() {
                let field = line
                    .split_whitespace()
                    .nth(2)
                    .ok_or("pgbench: a log line without latency")?;
                micros.push(field.parse::<u64>()?);
            }
            std::fs::remove_file(&path)?;
        }
    }
    micros.sort_unstable();
    let at = |percent: usize| {
        micros
            .get(micros.len() * percent / 100)
            .or(micros.last())
            .copied()
    };
    let milliseconds = |percent| {
        at(percent)
            .map(|micros| float(micros) / 1000.0)
            .ok_or("pgbench: an empty log")
    };
    Ok(Latency {
        p50: milliseconds(50)?,
        p90: milliseconds(90)?,
        p99: milliseconds(99)?,
        max: milliseconds(100)?,
    })
}
