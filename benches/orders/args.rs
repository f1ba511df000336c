//! What can be chosen.

use std::path::PathBuf;

use clap::{Parser, value_parser as parser};

/// Measures the platform beside pgbench on a private PostgreSQL. Exit 1 when a run confirmed no
/// order or the books do not balance; a missed goal is only shown, since machines differ and are
/// shared.
#[derive(Debug, Parser)]
#[command(bin_name = "bench", max_term_width = 110)]
pub struct Args {
    /// The valerix program to measure
    #[arg(long)]
    pub program: PathBuf,
    /// How often each run is repeated, in turn with the others
    #[arg(long, default_value_t = 3, value_parser = parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Length of each run
    #[arg(long, default_value_t = 10, value_parser = parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Load before the first run
    #[arg(long, default_value_t = 3, value_parser = parser!(u32).range(1..=3600))]
    pub warm_up_seconds: u32,
    /// Instead of the rounds: how orders per second grow with clients, products and stored rows
    #[arg(long)]
    pub growth: bool,
    /// Rows stored before the last series of --growth
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    pub stored: Vec<u32>,
    /// Instead of the rounds: how unfinished orders drain, and what new orders feel of it
    #[arg(long)]
    pub backlog: bool,
    /// Unfinished orders of --backlog
    #[arg(long, default_value_t = 100_000, value_parser = parser!(u32).range(1..))]
    pub backlog_orders: u32,
    /// New orders per second of --backlog, about
    #[arg(long, default_value_t = 50, value_parser = parser!(u32).range(1..=400))]
    pub backlog_rate: u32,
    /// Tables in Markdown, for docs/performance.md
    #[arg(long)]
    pub markdown: bool,
    /// All figures of all runs, for machines
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the database lives meanwhile; it should be a real disk [default: a directory of its
    /// own in /var/tmp]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// To see that runs without confirmed orders are noticed
    #[arg(long, hide = true, default_value_t = 1.0)]
    pub payment_success_rate: f64,
    /// Statements run before the books are checked, to see that the check finds what they do
    #[arg(long, hide = true)]
    pub tamper: Option<String>,
}

impl Args {
    pub fn read() -> Self {
        // Cargo says to a benchmark that it is one.
        Self::parse_from(std::env::args_os().filter(|argument| argument != "--bench"))
    }

    pub const fn with_rounds(&self) -> bool {
        !(self.growth || self.backlog)
    }
}
