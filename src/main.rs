#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use serde::Serialize;
use tokio::task::LocalSet;
use valerix::cli::{self, AuditArgs, Cli, Command, GremlinArgs, GremlinTask, LoadArgs};
use valerix::inventory::Inventory;
use valerix::order::OrderRole;
use valerix::payment::PaymentRole;
use valerix::platform::service;
use valerix::platform::shutdown::{self, Cause, Shutdown};
use valerix::platform::{db, output};
use valerix::{audit, demo, gremlin, healthcheck, load, prove, soak};

/// The exit code of an audit that could not read everything. It says nothing about the invariants.
const AUDIT_INCOMPLETE: u8 = 2;

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// One thread for what does not belong to a request; those that answer requests are the server's
/// own.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    // On the heap: a future has room for the greatest of all commands.
    match Box::pin(run(cli::parse().command)).await {
        // What could not be printed was not done.
        Ok(_) if shutdown::cause() == Some(Cause::OutputFailed) => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            output::complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Order(args) => {
            let config = args.config();
            service::run(args.service.config(5001), |platform| {
                OrderRole::new(config, platform)
            })
            .await?;
        }
        Command::Inventory(args) => {
            service::run(args.config(5002), |_| Ok(Inventory)).await?;
        }
        Command::Payment(args) => {
            let role = PaymentRole {
                gateway: Arc::new(args.gateway()),
            };
            service::run(args.service.config(5003), |_| Ok(role)).await?;
        }
        Command::Demo(args) => demo::run(args.into(), &stop_in_order()?).await?,
        Command::Migrate(args) => {
            end_on_request()?;
            match db::migrate(&args.database_url).await?.as_slice() {
                [] => output::line("nothing to apply: the schema is up to date"),
                applied => output::line(format_args!("applied {}", applied.join(", "))),
            }
        }
        Command::Gremlin(args) => return gremlin(args).await,
        Command::Audit(args) => return audit(&args).await,
        Command::Prove(args) => {
            // HTTP clients belong to a thread.
            let report = LocalSet::new()
                .run_until(prove::run(&args.config(), &stop_in_order()?))
                .await?;
            let Some(report) = report else {
                return Ok(stopped());
            };
            tell(&report, args.json)?;
            return Ok(report.verdict.exit_code().into());
        }
        Command::Soak(args) => {
            let report = LocalSet::new()
                .run_until(soak::run(&args.config(), &stop_in_order()?))
                .await?;
            let Some(report) = report else {
                return Ok(stopped());
            };
            tell(&report, args.json)?;
            if !report.held {
                return Err("something grew, or the books do not balance".into());
            }
        }
        Command::Load(args) => return load(&args).await,
        Command::Healthcheck(args) => {
            end_on_request()?;
            healthcheck::run(args.target()?).await?;
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "valerix", &mut script);
            output::print(String::from_utf8_lossy(&script));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn gremlin(args: GremlinArgs) -> Outcome {
    let local = LocalSet::new();
    match args.task()? {
        GremlinTask::Grant {
            targets,
            token,
            wish,
            json,
        } => {
            end_on_request()?;
            let outcome = local
                .run_until(gremlin::run(&targets, token.as_deref(), &wish, json))
                .await;
            let failed = outcome.err().unwrap_or_default();
            failed.iter().for_each(output::complain);
            Ok(if failed.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        GremlinTask::Tour { config, json } => {
            let report = local
                .run_until(gremlin::tour::run(config, json, &stop_in_order()?))
                .await?;
            let Some(report) = report else {
                return Ok(stopped());
            };
            if !report.passed {
                let (checks, failures) = (report.checks, report.failures);
                return Err(format!("tour: {failures} of {checks} checks failed").into());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn audit(args: &AuditArgs) -> Outcome {
    end_on_request()?;
    let audit = audit::of(
        &args.database_url,
        args.bound.duration(),
        &args.others.elsewhere(),
    )
    .await;
    let audit = match audit {
        Ok(audit) => audit,
        Err(error) => {
            output::complain(error);
            return Ok(AUDIT_INCOMPLETE.into());
        }
    };
    tell(&audit, args.json)?;
    if !audit.clean {
        return Err("the books do not balance".into());
    }
    Ok(ExitCode::SUCCESS)
}

async fn load(args: &LoadArgs) -> Outcome {
    let shutdown = stop_in_order()?;
    let report = LocalSet::new()
        .run_until(load::run(&args.config(), &shutdown))
        .await;
    tell(&report, args.json)?;
    if shutdown.is_requested() {
        return Ok(stopped());
    }
    if !report.has_answers() {
        return Err("no order got an answer; is the order service running at that address?".into());
    }
    Ok(ExitCode::SUCCESS)
}

/// For commands that end what they started before they stop.
fn stop_in_order() -> io::Result<Shutdown> {
    let shutdown = Shutdown::listen()?;
    shutdown.watch_output();
    Ok(shutdown)
}

/// For commands that have nothing to clean up. As the first process of a container they would not
/// hear SIGTERM otherwise.
fn end_on_request() -> io::Result<()> {
    Shutdown::listen()?.end_process();
    Ok(())
}

/// The exit code of a command that was asked to stop before it was done. A closed pipe needs no
/// words.
fn stopped() -> ExitCode {
    let cause = shutdown::cause().unwrap_or(Cause::Interrupted);
    if !matches!(cause, Cause::OutputClosed | Cause::OutputFailed) {
        output::complain(format_args!("stopped ({cause})"));
    }
    cause.exit_code()
}

fn tell(report: &(impl Display + Serialize), json: bool) -> serde_json::Result<()> {
    output::line(if json {
        serde_json::to_string_pretty(report)?
    } else {
        report.to_string()
    });
    Ok(())
}
