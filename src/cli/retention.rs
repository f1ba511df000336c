//! `valerix retention`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tokio::task::LocalSet;

use super::default_urls::local_url;
use super::outcome::{Outcome, exit_on_signal, print_report};
use super::parsers::{base_url, retention_days};
use super::shared::OperatorTokenArgs;
use crate::platform::client::BaseUrl;
use crate::retention::{RetentionClient, Run};
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct RetentionArgs {
    #[command(subcommand)]
    command: RetentionCommand,
    /// Address of the order service
    #[arg(long, env = "ORDER_SERVICE_URL", global = true,
          default_value_t = local_url(ServiceKind::Order), value_parser = base_url)]
    url: BaseUrl,
    #[command(flatten)]
    operator: OperatorTokenArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum RetentionCommand {
    /// Delete orders that are over and old, with their events, reservations and payments
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Count what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Make no pauses between the steps: faster, and customers may notice
    #[arg(long)]
    no_pauses: bool,
    /// Days since the last change of an order [default: `RETENTION_DAYS` of the order service]
    #[arg(long, value_name = "N", value_parser = retention_days)]
    older_than_days: Option<u32>,
}

impl RetentionArgs {
    /// Ends with exit code 1 if orders stay that should leave.
    pub async fn run(self) -> Outcome {
        exit_on_signal()?;
        let RetentionCommand::Run(args) = self.command;
        let run = Run {
            dry_run: args.dry_run,
            older_than_days: args.older_than_days,
            show_progress: !self.json,
            pauses: !args.no_pauses && !args.dry_run,
        };
        let client = RetentionClient::new(&self.url, self.operator.token.as_deref());
        let report = LocalSet::new().run_until(client.run(run)).await?;
        print_report(&report, self.json)?;
        Ok(if report.is_complete() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
