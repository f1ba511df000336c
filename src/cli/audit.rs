//! `valerix audit`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::number_parsers::path;
use super::outcome::{Outcome, exit_on_signal, print_report};
use super::parsers::database_url;
use super::shared::{RecoveryBoundArgs, RemoteDatabaseArgs};
use crate::audit::{self, Audit};
use crate::demo;
use crate::platform::db::DatabaseUrl;
use crate::platform::output;
use crate::platform::plural::{count, is_or_are};

/// Exit code of an audit that could not read everything. It says nothing about the invariants.
const EXIT_INCOMPLETE: u8 = 2;

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// PostgreSQL database, as for the order service [default: that of the demo of this directory]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = database_url)]
    database_url: Option<DatabaseUrl>,
    /// Directory of the demo whose database is read if no address is given [default: .valerix]
    #[arg(long, env = "VALERIX_DATA_DIR", value_parser = path())]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote_databases: RemoteDatabaseArgs,
    #[command(flatten)]
    recovery_bound: RecoveryBoundArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl AuditArgs {
    pub async fn run(self) -> Outcome {
        exit_on_signal()?;
        let audit = match self.audit().await {
            Ok(audit) => audit,
            Err(error) => {
                output::print_error(error);
                return Ok(EXIT_INCOMPLETE.into());
            }
        };
        print_report(&audit, self.json)?;
        if audit.clean {
            return Ok(ExitCode::SUCCESS);
        }
        let invariants = audit.invariants.iter();
        let violated = invariants
            .filter(|invariant| invariant.violations > 0)
            .count();
        let total = audit.invariants.len();
        let (invariants, are) = (count(total, "invariant"), is_or_are(violated));
        Err(format!("audit: {violated} of {invariants} {are} violated").into())
    }

    async fn audit(&self) -> Result<Audit, Box<dyn Error>> {
        let database_url = match &self.database_url {
            Some(url) => url.clone(),
            None => demo::running_database(self.data_dir.as_deref())?,
        };
        let bound = self.recovery_bound.duration();
        Ok(audit::run(&database_url, bound, &self.remote_databases.config()).await?)
    }
}
