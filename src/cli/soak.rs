//! `valerix soak`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::task::LocalSet;

use super::number_parsers::{path, rate, within};
use super::outcome::{Outcome, listen_for_shutdown, print_report, stopped};
use super::parsers::minutes;
use crate::platform::output;
use crate::soak::{self, Verdict};

/// Exit code of a soak that was too short for a verdict, as of an incomplete campaign.
const EXIT_INCONCLUSIVE: u8 = 2;

#[derive(Debug, Args)]
pub struct SoakArgs {
    /// Duration in minutes; below 6 there are likely too few samples for a verdict, and a larger
    /// --sample-seconds may need more
    #[arg(long, default_value = "60", value_parser = minutes)]
    minutes: Duration,
    /// Orders per second
    #[arg(long, default_value_t = 100, value_parser = rate)]
    rate: u32,
    /// Seconds between two samples of the processes
    #[arg(long, default_value_t = 3, value_parser = within(3_u64..=3600, "whole seconds"))]
    sample_seconds: u64,
    /// Directory of the soak's database; its contents are deleted first [default: a temporary
    /// directory]
    #[arg(long, value_parser = path())]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl SoakArgs {
    fn config(&self) -> soak::Config {
        soak::Config {
            duration: self.minutes,
            rate: self.rate,
            sample_interval: Duration::from_secs(self.sample_seconds),
            data_dir: self.data_dir.clone(),
            progress: output::supports_progress_bar(),
        }
    }

    pub async fn run(self) -> Outcome {
        if let Some(warning) = self.config().warning() {
            output::print_error(warning);
        }
        // HTTP clients belong to a thread.
        let report = LocalSet::new()
            .run_until(soak::run(&self.config(), &listen_for_shutdown()?))
            .await?;
        let Some(report) = report else {
            return Ok(stopped());
        };
        print_report(&report, self.json)?;
        match report.verdict {
            Verdict::Passed => Ok(ExitCode::SUCCESS),
            Verdict::Failed => Err("soak: failed; the report says why".into()),
            Verdict::Inconclusive => {
                output::print_error("soak: inconclusive; there are too few samples for a trend");
                Ok(EXIT_INCONCLUSIVE.into())
            }
        }
    }
}
