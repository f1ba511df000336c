//! The flags of `valerix soak`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::parsers::minutes;
use crate::platform::output;
use crate::soak;

#[derive(Debug, Args)]
pub struct SoakArgs {
    /// How long; in less than six there is too little to tell
    #[arg(long, default_value = "60", value_parser = minutes)]
    minutes: Duration,
    /// Orders per second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds from one look at the processes to the next
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=3600))]
    sample_seconds: u64,
    /// Keep the soak's database here; what is there is removed first [default: a temporary
    /// directory]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl SoakArgs {
    #[must_use]
    pub fn config(&self) -> soak::Config {
        soak::Config {
            duration: self.minutes,
            rate: self.rate,
            sample_every: Duration::from_secs(self.sample_seconds),
            data_dir: self.data_dir.clone(),
            progress: output::shows_progress(),
        }
    }
}
