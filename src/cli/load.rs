//! `valerix load`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::task::LocalSet;

use super::default_urls::local_url;
use super::number_parsers::{rate, within};
use super::outcome::{Outcome, listen_for_shutdown, print_report, stopped};
use super::parsers::{base_url, product_id, timeout_ms};
use crate::load;
use crate::platform::client::BaseUrl;
use crate::platform::output;
use crate::testbed::service_kind::ServiceKind;

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Address of the order service
    #[arg(long, env = "ORDER_SERVICE_URL", default_value_t = local_url(ServiceKind::Order),
          value_parser = base_url)]
    url: BaseUrl,
    /// Orders per second; several rates, separated by commas, run one after the other
    #[arg(long, value_delimiter = ',', default_value = "100", value_parser = rate)]
    rate: Vec<u32>,
    /// Duration of each rate in seconds
    #[arg(long, default_value_t = 10, value_parser = within(1_u64..=86_400, "whole seconds"))]
    seconds: u64,
    /// Product to order; of several, separated by commas, one is chosen at random for each order
    #[arg(long, value_delimiter = ',', default_value = "PROD-001", value_parser = product_id)]
    product_id: Vec<String>,
    /// Quantity of each order
    #[arg(long, default_value_t = 1, value_parser = within(1_i32..=1000, "a whole number"))]
    quantity: i32,
    /// Send an idempotency key with each order
    #[arg(long)]
    keys: bool,
    /// Maximum number of connections; the time that an order waits for one counts as latency
    #[arg(long, default_value_t = 1000, value_parser = within(1..=u16::MAX, "a whole number"))]
    connections: u16,
    /// Milliseconds after which an order without a response counts as unanswered
    #[arg(long, default_value_t = 10_000, value_parser = timeout_ms)]
    timeout_ms: u64,
    /// Exit with 1 if the 99th percentile of a rate is above this many milliseconds; like the
    /// report, it covers the orders with an answer other than 5xx
    #[arg(long, value_name = "MS", help_heading = "Thresholds", value_parser = timeout_ms)]
    max_p99_ms: Option<u64>,
    /// Exit with 1 if a rate has more errors than this number of orders, or than this percentage
    /// of its orders, such as 0.5%; an error is an order without an answer in time, or with any
    /// status other than 201, 202, 402, 409 and 422
    #[arg(long, value_name = "NUMBER|PERCENT%", help_heading = "Thresholds")]
    max_errors: Option<load::ErrorLimit>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    fn config(&self) -> load::Config {
        load::Config {
            url: self.url.clone(),
            rates: self.rate.clone(),
            duration: Duration::from_secs(self.seconds),
            product_ids: self.product_id.clone(),
            quantity: self.quantity,
            keys: self.keys,
            connections: self.connections.into(),
            timeout: Duration::from_millis(self.timeout_ms),
            thresholds: load::Thresholds {
                max_p99_ms: self.max_p99_ms,
                max_errors: self.max_errors,
            },
            progress: output::supports_progress_bar(),
        }
    }

    /// Prints what has been measured even if the load was stopped early.
    pub async fn run(self) -> Outcome {
        let shutdown = listen_for_shutdown()?;
        // HTTP clients belong to a thread.
        let report = LocalSet::new()
            .run_until(load::run(&self.config(), &shutdown))
            .await;
        print_report(&report, self.json)?;
        if shutdown.is_requested() {
            return Ok(stopped());
        }
        if !report.has_answers() {
            let url = &self.url;
            let message = format!("no order got a response; does the order service run at {url}?");
            output::print_error(message);
            return Ok(ExitCode::from(2));
        }
        let exceeded: Vec<_> = report.exceeded().collect();
        for judgement in &exceeded {
            let (rate, found) = (judgement.rate, &judgement.found);
            output::print_error(format_args!("load: at {rate}/s: {found}"));
        }
        Ok(ExitCode::from(u8::from(!exceeded.is_empty())))
    }
}
