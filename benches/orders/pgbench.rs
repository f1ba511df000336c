//! pgbench as a child process, with `pgbench_order.sql`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use valerix::testbed::postgres::Binaries;

use crate::fallible::Fallible;
use crate::fixture::Fixture;
use crate::latency::Latency;
use crate::stats::to_f64;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/orders/pgbench_order.sql"
);
/// The names of pgbench's log files start with this.
const LOG_PREFIX: &str = "pgbench";
const MAX_THREADS: u32 = 2;

/// The load of one pgbench run.
pub struct Load {
    pub clients: u32,
    /// The number of products that the orders are spread over.
    pub products: u32,
    pub seconds: u32,
    /// Whether to log each transaction's latency. Logging takes time, so it is on only for few
    /// clients.
    pub log_latencies: bool,
}

/// The result of one pgbench run.
pub struct Measurement {
    pub orders: u32,
    pub per_second: f64,
    pub latency: Option<Latency>,
}

pub async fn run(fixture: &Fixture<'_>, load: &Load) -> Fallible<Measurement> {
    let mut command = Command::new(program()?);
    let threads = load.clients.min(MAX_THREADS);
    command.args(["--no-vacuum", "--protocol=prepared", "--file", SCRIPT]);
    command.arg(format!("--client={}", load.clients));
    command.arg(format!("--jobs={threads}"));
    command.arg(format!("--time={}", load.seconds));
    command.arg(format!("--define=products={}", load.products));
    if load.log_latencies {
        command.args(["--log", "--log-prefix", LOG_PREFIX]);
    }
    command
        .arg(fixture.scratch_url())
        .current_dir(fixture.home())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await;
    let output = output.map_err(|error| format!("pgbench: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (Some(orders), Some(per_second)) = (
        word_after(&text, "number of transactions actually processed: "),
        word_after(&text, "tps = ").filter(|_| output.status.success()),
    ) else {
        return Err(format!("pgbench: {}{text}", String::from_utf8_lossy(&output.stderr)).into());
    };
    let latency = if load.log_latencies {
        Some(read_and_remove_logs(fixture.home())?)
    } else {
        None
    };
    Ok(Measurement {
        orders: orders.parse()?,
        per_second: per_second.parse()?,
        latency,
    })
}

/// The program beside the server's other programs or, if it is not there, on the `PATH`.
fn program() -> Fallible<PathBuf> {
    let beside_server = Binaries::find()?.path("pgbench");
    Ok(if beside_server.is_file() {
        beside_server
    } else {
        "pgbench".into()
    })
}

fn word_after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.split_once(label)?.1.split_whitespace().next()
}

fn read_and_remove_logs(directory: &Path) -> Fallible<Latency> {
    let mut micros = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .to_string_lossy()
            .starts_with(&format!("{LOG_PREFIX}."))
        {
            micros.extend(read_log(&entry.path())?);
            std::fs::remove_file(entry.path())?;
        }
    }
    micros.sort_unstable();
    let percentile = |percent: usize| -> Fallible<f64> {
        let index = micros.len() * percent / 100;
        let value = micros.get(index).or(micros.last());
        Ok(to_f64(*value.ok_or("pgbench: an empty log")?) / 1000.0)
    };
    Ok(Latency {
        p50: percentile(50)?,
        p90: percentile(90)?,
        p99: percentile(99)?,
        max: percentile(100)?,
    })
}

/// Reads the latencies in microseconds. They are the third field of each line, after the client and
/// the transaction.
fn read_log(path: &Path) -> Fallible<Vec<u64>> {
    let mut micros = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let field = line.split_whitespace().nth(2);
        micros.push(
            field
                .ok_or("pgbench: a log line without a latency")?
                .parse()?,
        );
    }
    Ok(micros)
}
