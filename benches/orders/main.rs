//! The platform measured beside PostgreSQL alone: orders by wrk through all services, and the same
//! four statements by pgbench in a scratch database of the same server. `make bench`;
//! docs/performance.md says how and why.
//!
//! args → rounds | growth | backlog, each of runs (wrk or pgbench, watched by `watch`) on
//! `services` → report.

mod args;
mod backlog;
mod database;
mod goals;
mod growth;
mod load;
mod machine;
mod pgbench;
mod report;
mod rounds;
mod services;
mod stage;
mod stats;
mod table;
mod watch;
mod wrk;

use std::process::ExitCode;

use args::Args;
use report::Report;
use stage::Stage;

/// Whatever goes wrong ends the benchmark, with a message.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::read();
    // HTTP clients belong to a thread.
    match tokio::task::LocalSet::new().run_until(run(&args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Fallible<()> {
    let stage = Stage::build(args).await?;
    let outcome = tokio::select! {
        outcome = measure(args, &stage) => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    stage.clear().await?;
    let report = outcome?;
    println!("{}", report.text(args.markdown));
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(args: &Args, stage: &Stage<'_>) -> Fallible<Report> {
    let machine = machine::describe(args, stage).await?;
    let rounds = if args.with_rounds() {
        Some(rounds::run(stage).await?)
    } else {
        None
    };
    let growth = if args.growth {
        Some(growth::run(stage).await?)
    } else {
        None
    };
    let backlog = if args.backlog {
        Some(backlog::run(stage).await?)
    } else {
        None
    };
    Ok(Report::new(machine, rounds, growth, backlog))
}
