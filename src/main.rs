#![forbid(unsafe_code)]

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use serde::Serialize;
use valerix::cli::{self, Cli, Command, GremlinTask};
use valerix::inventory::Inventory;
use valerix::order::OrderRole;
use valerix::payment::PaymentRole;
use valerix::platform::{database, server};
use valerix::{audit, demo, gremlin, healthcheck, load, prove, soak};

/// One thread for what does not belong to a request; those that answer requests are the server's own.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    // On the heap: a future has room for the greatest of all commands.
    match Box::pin(run(cli::parse().command)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("valerix: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match command {
        Command::Order(args) => {
            let config = args.config();
            server::run(args.service.config(5001), |platform| OrderRole::new(config, platform)).await?;
        }
        Command::Inventory(args) => {
            server::run(args.config(5002), |_| Inventory).await?;
        }
        Command::Payment(args) => {
            let role = PaymentRole { gateway: Arc::new(args.gateway()) };
            server::run(args.service.config(5003), |_| role).await?;
        }
        Command::Demo(args) => demo::run(args.into()).await?,
        Command::Migrate(args) => match database::migrate(&args.database_url).await?.as_slice() {
            [] => println!("nothing to apply: the schema is up to date"),
            applied => println!("applied {}", applied.join(", ")),
        },
        Command::Gremlin(args) => {
            // HTTP clients belong to a thread.
            let local = tokio::task::LocalSet::new();
            match args.task()? {
                GremlinTask::Grant { targets, token, wish, json } => {
                    local.run_until(gremlin::run(&targets, token.as_deref(), &wish, json)).await?;
                }
                GremlinTask::Tour(config) => {
                    if local.run_until(gremlin::tour::run(config)).await? > 0 {
                        return Err("something was not as it should be".into());
                    }
                }
            }
        }
        Command::Audit(args) => {
            let audit =
                audit::of(&args.database_url, args.bound.duration(), &args.others.elsewhere()).await?;
            tell(&audit, args.json)?;
            if !audit.clean {
                return Err("the books do not balance".into());
            }
        }
        Command::Prove(args) => {
            let config = args.config();
            // HTTP clients belong to a thread.
            let report = tokio::task::LocalSet::new().run_until(prove::run(&config)).await?;
            tell(&report, args.json)?;
            return Ok(report.verdict.exit_code().into());
        }
        Command::Soak(args) => {
            let report = tokio::task::LocalSet::new().run_until(soak::run(&args.config())).await?;
            tell(&report, args.json)?;
            if !report.held {
                return Err("something grew, or the books do not balance".into());
            }
        }
        Command::Load(args) => {
            let report = tokio::task::LocalSet::new().run_until(load::run(&args.config())).await;
            tell(&report, args.json)?;
        }
        Command::Healthcheck(args) => healthcheck::run(args.target()?).await?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "valerix", &mut std::io::stdout());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(report: &(impl Display + Serialize), json: bool) -> serde_json::Result<()> {
    println!("{}", if json { serde_json::to_string_pretty(report)? } else { report.to_string() });
    Ok(())
}
