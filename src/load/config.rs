//! The configuration of a load.

use std::time::Duration;

use super::thresholds::Thresholds;
use crate::platform::client::BaseUrl;

#[derive(Debug, Clone)]
pub struct Config {
    /// The order service.
    pub url: BaseUrl,
    /// Orders per second, a step for each rate.
    pub rates: Vec<u32>,
    /// The length of each step.
    pub duration: Duration,
    /// Each order is for one of these, chosen at random.
    pub product_ids: Vec<String>,
    pub quantity: i32,
    /// Whether each order has an idempotency key of its own.
    pub keys: bool,
    /// The maximum number of open connections. An order that is due while all are in use waits for
    /// one, which is part of its latency.
    pub connections: usize,
    /// An order without an answer after this time counts as unanswered.
    pub timeout: Duration,
    /// The limits that the result of each rate must keep.
    pub thresholds: Thresholds,
    /// Whether to show a progress bar.
    pub progress: bool,
}
