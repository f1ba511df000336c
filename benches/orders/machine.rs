//! What was measured, on what: the benchmark says it of itself.

use std::process::Command;

use procfs::{CpuInfo, Current, Meminfo};
use serde::Serialize;

use crate::args::Args;
use crate::stage::Stage;
use crate::stats::float;
use crate::{Fallible, database, watch};

/// Variables that change what a service does, when whoever measures has set them.
const VARIABLES: &[&str] = &[
    "RUST_LOG",
    "DATABASE_POOL_SIZE",
    "DOWNSTREAM_TIMEOUT_MS",
    "GREMLIN_ENABLED",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PAYMENT_LATENCY_MS",
];

#[derive(Debug, Serialize)]
pub struct Machine {
    pub commit: String,
    pub program: String,
    pub processor: String,
    pub cores: u64,
    pub memory_gb: f64,
    pub kernel: String,
    pub postgresql: String,
    /// Of the directory that holds the database.
    pub file_system: String,
    /// Those of the services' variables that were set from outside.
    pub environment: Vec<String>,
}

pub async fn describe(args: &Args, stage: &Stage<'_>) -> Fallible<Machine> {
    let scratch = database::connect(&stage.scratch_url()).await?;
    let version: String = scratch.query_one("SHOW server_version", &[]).await?.get(0);
    let set = |name: &&str| Some(format!("{name}={}", std::env::var(name).ok()?));
    let processor = CpuInfo::current()?
        .model_name(0)
        .unwrap_or("unknown processor")
        .to_owned();
    let home = stage.home().display().to_string();
    Ok(Machine {
        commit: commit(),
        program: said("", &args.program.display().to_string(), &["--version"]),
        processor,
        cores: watch::cores(),
        memory_gb: float(Meminfo::current()?.mem_total) / 1e9,
        kernel: said("", "uname", &["-sr"]),
        postgresql: version,
        file_system: said(
            "an unknown file system",
            "findmnt",
            &["-n", "-o", "FSTYPE", "-T", &home],
        ),
        environment: VARIABLES.iter().filter_map(set).collect(),
    })
}

/// Of what is measured: changes of the benchmark itself do not matter.
fn commit() -> String {
    let commit = said("unknown", "git", &["rev-parse", "--short", "HEAD"]);
    let changed = said(
        "",
        "git",
        &[
            "status",
            "--porcelain",
            "--",
            "Cargo.toml",
            "Cargo.lock",
            "src",
            "migrations",
        ],
    );
    if changed.is_empty() {
        commit
    } else {
        format!("{commit}, with changes")
    }
}

/// What a program prints, on one line.
fn said(otherwise: &str, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success());
    output.map_or(otherwise.to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}
