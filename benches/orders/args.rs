//! The command line.

use std::path::PathBuf;

use clap::{Parser, value_parser as parser};

/// Measures the platform beside pgbench on a private PostgreSQL.
///
/// Exits with 1 when a run confirmed no order, or an invariant is violated. A missed goal is only
/// shown, because machines differ and are shared with other programs.
#[derive(Debug, Parser)]
#[command(bin_name = "bench", max_term_width = 110)]
pub struct Args {
    /// The valerix program to measure
    #[arg(long)]
    pub program: PathBuf,
    /// Number of rounds, in each of which every run takes place once
    #[arg(long, default_value_t = 3, value_parser = parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Length of each run
    #[arg(long, default_value_t = 10, value_parser = parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Length of the load before the first run
    #[arg(long, default_value_t = 3, value_parser = parser!(u32).range(1..=3600))]
    pub warm_up_seconds: u32,
    /// Instead of the rounds, measure how orders per second depend on the number of clients,
    /// products and stored orders
    #[arg(long)]
    pub growth: bool,
    /// Numbers of stored orders for --growth
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    pub stored: Vec<u32>,
    /// Instead of the rounds, measure how fast recovery finishes a backlog of orders, and the
    /// latency of new orders at the same time
    #[arg(long)]
    pub backlog: bool,
    /// Number of unsettled orders for --backlog
    #[arg(long, default_value_t = 100_000, value_parser = parser!(u32).range(1..))]
    pub backlog_orders: u32,
    /// Approximate number of new orders per second for --backlog
    #[arg(long, default_value_t = 50, value_parser = parser!(u32).range(1..=400))]
    pub backlog_rate: u32,
    /// Print tables in Markdown, for docs/performance.md
    #[arg(long)]
    pub markdown: bool,
    /// Write the results of all runs to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Directory of the database, which should be on a disk [default: a temporary directory in
    /// /var/tmp]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Share of the payments that succeed: 0 shows that runs without confirmed orders are noticed
    #[arg(long, hide = true, default_value_t = 1.0)]
    pub payment_success_rate: f64,
    /// SQL statements that run before the invariants are checked, to show that the check finds what
    /// they break
    #[arg(long, hide = true)]
    pub tamper: Option<String>,
}

impl Args {
    pub fn read() -> Self {
        // Cargo adds `--bench` to the arguments of every benchmark.
        Self::parse_from(std::env::args_os().filter(|argument| argument != "--bench"))
    }

    pub const fn with_rounds(&self) -> bool {
        !(self.growth || self.backlog)
    }
}
