//! Measures the platform beside PostgreSQL alone: wrk places orders through all services, and
//! pgbench runs the same four statements in another database of the same server. Run it with
//! `make bench`; docs/performance.md describes the method.
//!
//! `rounds`, `growth` and `backlog` are the measurements. Each starts a `platform` on the
//! `fixture`, loads it with `wrk` or `pgbench`, and measures the `process_usage` at the same time.
//! `report` prints the results.

mod args;
mod backlog;
mod backlog_tables;
mod database;
mod fallible;
mod fixture;
mod goals;
mod growth;
mod growth_tables;
mod last_run;
mod latency;
mod machine;
mod pgbench;
mod platform;
mod process_usage;
mod report;
mod round_tables;
mod rounds;
mod run;
mod stats;
mod table;
mod wrk;

use std::process::ExitCode;

use args::Args;
use fallible::Fallible;
use fixture::Fixture;
use report::Report;
use tokio::task::LocalSet;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::read();
    // HTTP connections belong to the thread that opened them. The future is on the heap, because it
    // is large.
    match LocalSet::new().run_until(Box::pin(run(&args))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Fallible<()> {
    let fixture = Fixture::start(args).await?;
    let outcome = tokio::select! {
        outcome = measure(args, &fixture) => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    fixture.remove().await?;
    let report = outcome?;
    println!("{}", report.text(args.markdown));
    if let Some(comparison) = report.compare_with_last_run()? {
        println!("\n{}", comparison.text(args.markdown));
    }
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(args: &Args, fixture: &Fixture<'_>) -> Fallible<Report> {
    let machine = machine::describe(args, fixture).await?;
    let rounds = if args.with_rounds() {
        Some(rounds::run(fixture).await?)
    } else {
        None
    };
    let growth = if args.growth {
        Some(growth::run(fixture).await?)
    } else {
        None
    };
    let backlog = if args.backlog {
        Some(backlog::run(fixture).await?)
    } else {
        None
    };
    Ok(Report::new(machine, rounds, growth, backlog))
}
