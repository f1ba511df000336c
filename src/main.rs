#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::CommandFactory;
use valerix::cli::{self, Cli, Command, Outcome};
use valerix::platform::output;
use valerix::platform::shutdown::{self, Cause};

/// One thread for work outside requests; the server has its own threads for requests.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    // On the heap, because the future is as large as that of the largest command.
    match Box::pin(run(cli::parse().command)).await {
        // A command whose output could not be written has failed.
        Ok(_) if shutdown::cause() == Some(Cause::OutputFailed) => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            output::print_error(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Order(args) => args.run().await,
        Command::Inventory(args) => args.run().await,
        Command::Payment(args) => args.run().await,
        Command::Demo(args) => args.run().await,
        Command::Migrate(args) => args.run().await,
        Command::Gremlin(args) => args.run().await,
        Command::Audit(args) => args.run().await,
        // Boxed: the future of a campaign is large.
        Command::Prove(args) => Box::pin(args.run()).await,
        Command::Soak(args) => args.run().await,
        Command::Load(args) => args.run().await,
        Command::Stock(args) => args.run().await,
        Command::Orders(args) => args.run().await,
        Command::Retention(args) => args.run().await,
        Command::Healthcheck(args) => args.run().await,
        Command::Describe(args) => args.run(&Cli::command()),
        Command::Completions(args) => Ok(args.run(Cli::command())),
    }
}
