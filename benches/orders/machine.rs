//! Describes the measured program and the machine.

use std::process::Command;

use procfs::{CpuInfo, Current, Meminfo};
use serde::Serialize;

use crate::args::Args;
use crate::database;
use crate::fallible::Fallible;
use crate::fixture::Fixture;
use crate::process_usage::cores;
use crate::stats::to_f64;

/// Variables that change what a service does, if they are set for the benchmark.
const VARIABLES: [&str; 6] = [
    "RUST_LOG",
    "DATABASE_POOL_SIZE",
    "DOWNSTREAM_TIMEOUT_MS",
    "GREMLIN_ENABLED",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PAYMENT_LATENCY_MS",
];
/// Paths that decide how fast the program is. Changes of the benchmark itself do not matter.
const MEASURED_PATHS: [&str; 4] = ["Cargo.toml", "Cargo.lock", "src", "migrations"];

#[derive(Debug, Serialize)]
pub struct Machine {
    pub commit: String,
    pub program: String,
    pub processor: String,
    pub cores: u64,
    pub memory_gb: f64,
    pub kernel: String,
    pub postgresql: String,
    /// The file system of the database's directory.
    pub file_system: String,
    /// Variables of the services that are set for the benchmark.
    pub environment: Vec<String>,
}

pub async fn describe(args: &Args, fixture: &Fixture<'_>) -> Fallible<Machine> {
    let scratch = database::connect(&fixture.scratch_url()).await?;
    let postgresql = scratch.query_one("SHOW server_version", &[]).await?.get(0);
    let variable = |name: &&str| Some(format!("{name}={}", std::env::var(name).ok()?));
    let processor = CpuInfo::current()?.model_name(0).map(str::to_owned);
    let program = args.program.display().to_string();
    let home = fixture.home().display().to_string();
    let file_system = output_of("findmnt", &["-n", "-o", "FSTYPE", "-T", &home]);
    Ok(Machine {
        commit: commit(),
        program: output_of(&program, &["--version"]).unwrap_or_default(),
        processor: processor.unwrap_or_else(|| "unknown processor".to_owned()),
        cores: cores(),
        memory_gb: to_f64(Meminfo::current()?.mem_total) / 1e9,
        kernel: output_of("uname", &["-sr"]).unwrap_or_default(),
        postgresql,
        file_system: file_system.unwrap_or_else(|| "an unknown file system".to_owned()),
        environment: VARIABLES.iter().filter_map(variable).collect(),
    })
}

/// The short hash, and whether a file of the program differs from the commit.
fn commit() -> String {
    let commit = output_of("git", &["rev-parse", "--short", "HEAD"]);
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    let status = [&["status", "--porcelain", "--"][..], &MEASURED_PATHS].concat();
    let changes = output_of("git", &status).unwrap_or_default();
    if changes.is_empty() {
        commit
    } else {
        format!("{commit}, with changes")
    }
}

/// Returns the output of a program, without white space at the ends. `None` if it fails.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
