//! The flags of `valerix load`.

use std::time::Duration;

use clap::Args;

use super::parsers::{base_url, milliseconds};
use crate::load;
use crate::platform::client::BaseUrl;
use crate::platform::output;

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The order service
    #[arg(long, env = "ORDER_SERVICE_URL", default_value = "http://127.0.0.1:5001", value_parser = base_url)]
    url: BaseUrl,
    /// Orders per second; several, separated by commas, are tried one after the other
    #[arg(long, value_delimiter = ',', default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Vec<u32>,
    /// How long each rate lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What is ordered; several, separated by commas, in turn at random
    #[arg(long, value_delimiter = ',', default_value = "PROD-001")]
    product_id: Vec<String>,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    quantity: i32,
    /// Give each order an idempotency key
    #[arg(long)]
    keys: bool,
    /// Connections at most; an order that waits for one has that in its latency
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// An order that has no answer by then counts as unanswered
    #[arg(long, default_value_t = 10_000, value_parser = milliseconds)]
    timeout_ms: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl LoadArgs {
    #[must_use]
    pub fn config(&self) -> load::Config {
        load::Config {
            url: self.url.clone(),
            rates: self.rate.clone(),
            duration: Duration::from_secs(self.seconds),
            product_ids: self.product_id.clone(),
            quantity: self.quantity,
            keys: self.keys,
            connections: self.connections.into(),
            timeout: Duration::from_millis(self.timeout_ms),
            progress: output::shows_progress(),
        }
    }
}
