//! `valerix migrate`

use std::process::ExitCode;

use clap::Args;

use super::outcome::{Outcome, exit_on_signal};
use super::parsers::database_url;
use crate::platform::db::{self, DatabaseUrl};
use crate::platform::output;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// PostgreSQL database, as for the services
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    database_url: DatabaseUrl,
}

impl MigrateArgs {
    pub async fn run(self) -> Outcome {
        exit_on_signal()?;
        match db::migrate(&self.database_url).await?.as_slice() {
            [] => output::print_line("nothing to apply: the schema is up to date"),
            applied => output::print_line(format_args!("applied {}", applied.join(", "))),
        }
        Ok(ExitCode::SUCCESS)
    }
}
