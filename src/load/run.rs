//! Sends the orders, each at its time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::seq::IndexedRandom;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::config::Config;
use super::report::{Report, Step};
use super::tally::{Tally, to_f64};
use crate::platform::client::connector;
use crate::platform::shutdown::Shutdown;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long answers are awaited after a stop was requested.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Needs a `LocalSet`. After a stop was requested, sends no more orders, and reports what was
/// measured so far.
pub async fn run(config: &Config, shutdown: &Shutdown) -> Report {
    let sender = Rc::new(Sender::new(config.clone()));
    let mut steps = Vec::new();
    for rate in &config.rates {
        steps.push(run_step(&sender, *rate, shutdown).await);
        if shutdown.is_requested() {
            break;
        }
    }
    Report {
        thresholds: config.thresholds.judge(&steps),
        steps,
    }
}

async fn run_step(sender: &Rc<Sender>, rate: u32, shutdown: &Shutdown) -> Step {
    let config = &sender.config;
    let planned = u64::from(rate) * config.duration.as_secs();
    let tally = Rc::new(RefCell::new(Tally::new(config.timeout)));
    let bar = progress_bar(config, rate, planned);
    let started = Instant::now();
    let mut orders = JoinSet::new();
    let mut sent = 0;
    let mut stop = std::pin::pin!(shutdown.requested());
    while sent < planned {
        let due = started + Duration::from_secs_f64(to_f64(sent) / f64::from(rate));
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = tokio::time::sleep_until(due) => sent += 1,
        }
        let (sender, tally, bar) = (Rc::clone(sender), Rc::clone(&tally), bar.clone());
        orders.spawn_local(async move {
            let status = sender.send(due).await;
            tally.borrow_mut().count(status, due.elapsed());
            bar.inc(1);
        });
        // Finished tasks are removed at once, because a step may last for days. An order whose task
        // panicked is missing from the sum of the answers.
        while orders.try_join_next().is_some() {}
    }
    await_answers(&mut orders, shutdown).await;
    bar.finish_and_clear();
    let stopped = shutdown.is_requested();
    tally.borrow().step(rate, sent, started.elapsed(), stopped)
}

/// Waits for all answers, or for 1 s after a stop was requested.
async fn await_answers(orders: &mut JoinSet<()>, shutdown: &Shutdown) {
    let stopped = async {
        shutdown.requested().await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        () = async { while orders.join_next().await.is_some() {} } => {}
        () = stopped => orders.shutdown().await,
    }
}

struct Sender {
    config: Config,
    client: awc::Client,
    connections: Semaphore,
}

impl Sender {
    fn new(config: Config) -> Self {
        // The semaphore limits the connections.
        let connector = connector().timeout(CONNECT_TIMEOUT).limit(0);
        let client = awc::Client::builder().connector(connector);
        Self {
            client: client.timeout(config.timeout).finish(),
            connections: Semaphore::new(config.connections),
            config,
        }
    }

    /// Sends an order. Returns the status of the answer, or `None` if the complete answer does not
    /// arrive within the timeout, counted from the time when the order was due.
    async fn send(&self, due: Instant) -> Option<u16> {
        let product_id = self.config.product_ids.choose(&mut rand::rng());
        let mut request = self.client.post(format!("{}/orders", self.config.url));
        if self.config.keys {
            request = request.insert_header(("idempotency-key", Uuid::new_v4().to_string()));
        }
        let body = json!({"product_id": product_id, "quantity": self.config.quantity});
        let status = async {
            let _permit = self.connections.acquire().await.ok()?;
            let mut response = request.send_json(&body).await.ok()?;
            response.body().await.ok()?;
            Some(response.status().as_u16())
        };
        let deadline = due + self.config.timeout;
        tokio::time::timeout_at(deadline, status)
            .await
            .ok()
            .flatten()
    }
}

fn progress_bar(config: &Config, rate: u32, planned: u64) -> ProgressBar {
    let target = if config.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(planned), target);
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} answered  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(format!("{rate}/s"));
    bar.enable_steady_tick(PROGRESS_INTERVAL);
    bar
}
