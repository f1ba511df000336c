//! `valerix prove`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::task::LocalSet;

use super::number_parsers::{path, within};
use super::outcome::{Outcome, listen_for_shutdown, print_report, stopped};
use super::parsers::seed;
use crate::platform::output;
use crate::platform::shutdown::Shutdown;
use crate::prove;

/// Printed by `prove --help` below the arguments.
const LONG_HELP: &str = "\
The campaign places concurrent orders and injects faults at the same time. Operators cancel, \
fulfil and retry a third of the orders, and deliver stock. Then the campaign ends all faults and \
waits until every order is settled. For each kind of fault that never took effect, and each \
recovery path that never ran, it adds up to five directed rounds: the fault that leads there, and \
the orders that it needs. At last it checks the invariants, and compares every response that a \
customer or an operator received with the database: an acknowledged order exists and does not \
contradict its response; after a 503 with Retry-After there is no order; every order was named in \
a response, or its request received none; a cancelled order keeps nothing, the goods of a \
fulfilled one have left, and deliveries are stored once.

Each kind of fault occurs once before any kind occurs again: kills, failpoints, pauses (SIGSTOP), \
slow responses and ended database sessions of each service, each kind of gremlin rule, restarts \
and kills of the database, a locked product, locked orders, and commits that wait for a standby.

Exit codes:
  0  proved: every kind of fault and every recovery path occurred, and nothing broke
  1  broken: an invariant or a promise was broken, or an order stayed unsettled; \
also if the campaign could not run, and then without a report
  2  incomplete: nothing broke, but a kind of fault or a recovery path never occurred, not even \
in a directed round; the report \
says what to raise (also for wrong arguments, and then nothing is started)";

#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub struct ProveArgs {
    /// Seed of all requests and faults [default: random, and printed]
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Number of orders to plan; directed rounds may add some
    #[arg(long, default_value_t = 1000,
          value_parser = within(1_u32..=1_000_000, "a whole number"))]
    orders: u32,
    /// Number of times that a service is killed; other faults occur in proportion. Below 6, some
    /// kinds of fault never occur
    #[arg(long, default_value_t = 30, value_parser = within(0_u32..=10_000, "a whole number"))]
    kills: u32,
    /// Number of times that the database is restarted or killed, in turn. Below 2, one of the two
    /// never occurs
    #[arg(long, default_value_t = 2, value_parser = within(0_u32..=1000, "a whole number"))]
    database_restarts: u32,
    /// Directory of the campaign's database; its contents are deleted first [default: a temporary
    /// directory]
    #[arg(long, value_parser = path())]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Progress on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    supervised: bool,
    /// SQL statements to execute before the check, to test the check
    #[arg(long, hide = true)]
    tamper: Option<String>,
    /// Names of fault kinds and recovery paths for which only their directed rounds count, to test
    /// the rounds
    #[arg(long, hide = true, value_delimiter = ',')]
    discount: Vec<prove::Goal>,
}

/// The values of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Progress {
    /// A bar on a terminal, otherwise a line for each phase
    Auto,
    /// A line of JSON for each change
    Json,
    /// Nothing
    None,
}

impl Progress {
    fn format(self) -> prove::Format {
        match self {
            Self::Auto if output::supports_progress_bar() => prove::Format::Bar,
            Self::Auto => prove::Format::Text,
            Self::Json => prove::Format::Json,
            Self::None => prove::Format::Hidden,
        }
    }
}

impl ProveArgs {
    fn config(&self) -> prove::Config {
        prove::Config {
            seed: self.seed.unwrap_or_else(rand::random),
            orders: self.orders,
            kills: self.kills,
            database_restarts: self.database_restarts,
            data_dir: self.data_dir.clone(),
            tamper: self.tamper.clone(),
            discounted: self.discount.clone(),
        }
    }

    pub async fn run(self) -> Outcome {
        let shutdown = listen_for_shutdown()?;
        if self.supervised {
            shutdown.watch_supervisor();
        }
        // On the heap, because this future is large.
        let Some(report) = Box::pin(self.campaign(&shutdown)).await? else {
            return Ok(stopped());
        };
        print_report(&report, self.json)?;
        Ok(report.verdict.exit_code().into())
    }

    /// Runs the campaign, and shows its progress until it ends.
    async fn campaign(
        &self,
        shutdown: &Shutdown,
    ) -> Result<Option<prove::Report>, prove::ProveError> {
        let (reporter, progress) = prove::ProgressReporter::channel();
        let display = prove::Display::start(progress, self.progress.format());
        let config = self.config();
        let campaign = prove::run(&config, shutdown, reporter);
        // HTTP clients belong to a thread. The future is on the heap, because it is large.
        let outcome = Box::pin(LocalSet::new().run_until(campaign)).await;
        display.end().await;
        outcome
    }
}
