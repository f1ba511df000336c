//! `valerix load`: orders at a given rate, whatever the answers take.
//!
//! Open loop: each order has its time, and its latency counts from that time on, not from when it
//! could be sent. So a service that stalls is seen to stall; a closed loop would only send less.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::seq::IndexedRandom;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::platform::client::{BaseUrl, connector};
use crate::platform::shutdown::Shutdown;

/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long answers are awaited once the load was asked to stop.
const STOP_LIMIT: Duration = Duration::from_secs(1);
const NO_ANSWER: &str = "none";
/// Orders whose answer was not awaited.
const BROKEN_OFF: &str = "broken-off";
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What to send.
#[derive(Debug, Clone)]
pub struct Config {
    pub url: BaseUrl,
    /// Orders per second, one step after the other.
    pub rates: Vec<u32>,
    /// Of each step.
    pub duration: Duration,
    /// Each order is for one of these.
    pub product_ids: Vec<String>,
    pub quantity: i32,
    /// With an idempotency key of its own for each order.
    pub keys: bool,
    /// Open at once, at most. An order that is due while all are taken waits for one, and that
    /// counts as its latency too.
    pub connections: usize,
    /// An order without an answer by then has none.
    pub timeout: Duration,
    pub progress: bool,
}

/// What came of each step.
#[derive(Debug, Serialize)]
pub struct Report {
    pub steps: Vec<Step>,
}

impl Report {
    /// Whether there was any answer at all.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.steps
            .iter()
            .flat_map(|step| step.answers.keys())
            .any(|name| name != NO_ANSWER && name != BROKEN_OFF)
    }
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub rate: u32,
    /// Fewer than the rate and the time say when the load was asked to stop.
    pub sent: u64,
    /// Until the last answer.
    pub seconds: f64,
    /// Answers by status; `none` where there was none in time.
    pub answers: BTreeMap<String, u64>,
    /// Orders per second that were decided: every answer but 5xx and none.
    pub goodput: f64,
    /// From the time at which an order should have been sent, whether it could be or not.
    pub latency: Latency,
    /// The same, of those that were turned away with 503.
    pub refused: Latency,
}

#[derive(Debug, Default, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Runs on the calling thread's `LocalSet`. When asked to stop, it sends no more, and reports what
/// it has.
pub async fn run(config: &Config, shutdown: &Shutdown) -> Report {
    let connector = connector().timeout(CONNECT_TIMEOUT).limit(0);
    let client = awc::Client::builder()
        .connector(connector)
        .timeout(config.timeout)
        .finish();
    let sender = Rc::new(Sender {
        config: config.clone(),
        client,
        connections: Semaphore::new(config.connections),
    });
    let mut steps = Vec::new();
    for rate in &config.rates {
        steps.push(step(&sender, *rate, shutdown).await);
        if shutdown.is_requested() {
            break;
        }
    }
    Report { steps }
}

struct Sender {
    config: Config,
    client: awc::Client,
    connections: Semaphore,
}

struct Tally {
    answers: BTreeMap<String, u64>,
    decided: Histogram<u64>,
    refused: Histogram<u64>,
}

async fn step(sender: &Rc<Sender>, rate: u32, shutdown: &Shutdown) -> Step {
    let config = &sender.config;
    let planned = u64::from(rate) * config.duration.as_secs();
    let tally = Rc::new(RefCell::new(Tally {
        answers: BTreeMap::new(),
        decided: histogram(config.timeout),
        refused: histogram(config.timeout),
    }));
    let bar = progress_bar(config, rate, planned);
    let started = Instant::now();
    let mut orders = JoinSet::new();
    let mut sent = 0;
    let mut stop = std::pin::pin!(shutdown.requested());
    while sent < planned {
        let due = started + Duration::from_secs_f64(precise(sent) / f64::from(rate));
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = tokio::time::sleep_until(due) => sent += 1,
        }
        orders.spawn_local(order(
            Rc::clone(sender),
            due,
            Rc::clone(&tally),
            bar.clone(),
        ));
        // A step may last for days; what is answered is not kept. One that panicked has left no
        // answer, which the sum of the answers shows.
        while orders.try_join_next().is_some() {}
    }
    finish(&mut orders, shutdown).await;
    bar.finish_and_clear();
    let mut tally = tally.borrow_mut();
    let broken_off = sent.saturating_sub(tally.answers.values().sum());
    if shutdown.is_requested() && broken_off > 0 {
        tally.answers.insert(BROKEN_OFF.to_owned(), broken_off);
    }
    let seconds = started.elapsed().as_secs_f64();
    Step {
        rate,
        sent,
        seconds: (seconds * 10.0).round() / 10.0,
        goodput: (precise(tally.decided.len()) / seconds * 10.0).round() / 10.0,
        answers: tally.answers.clone(),
        latency: Latency::of(&tally.decided),
        refused: Latency::of(&tally.refused),
    }
}

/// Waits for the answers; for a moment only once the load was asked to stop.
async fn finish(orders: &mut JoinSet<()>, shutdown: &Shutdown) {
    let cut_off = async {
        shutdown.requested().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        () = async { while orders.join_next().await.is_some() {} } => {}
        () = cut_off => orders.shutdown().await,
    }
}

async fn order(sender: Rc<Sender>, due: Instant, tally: Rc<RefCell<Tally>>, bar: ProgressBar) {
    let Sender {
        config,
        client,
        connections,
    } = &*sender;
    let product_id = config.product_ids.choose(&mut rand::rng());
    let mut request = client.post(format!("{}/orders", config.url));
    if config.keys {
        request = request.insert_header(("idempotency-key", Uuid::new_v4().to_string()));
    }
    let body = json!({"product_id": product_id, "quantity": config.quantity});
    let answer = async {
        let _connection = connections.acquire().await.ok()?;
        let mut response = request.send_json(&body).await.ok()?;
        // An answer is there when it is there whole.
        response.body().await.ok()?;
        Some(response.status().as_u16())
    };
    let status = tokio::time::timeout_at(due + config.timeout, answer)
        .await
        .ok()
        .flatten();
    let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut tally = tally.borrow_mut();
    match status {
        Some(503) => tally.refused.saturating_record(micros),
        Some(status) if status < 500 => tally.decided.saturating_record(micros),
        _ => {}
    }
    let name = status.map_or_else(|| NO_ANSWER.to_owned(), |status| status.to_string());
    *tally.answers.entry(name).or_default() += 1;
    bar.inc(1);
}

/// Right within 0.1 %.
fn histogram(longest: Duration) -> Histogram<u64> {
    let most = u64::try_from(longest.as_micros())
        .unwrap_or(u64::MAX)
        .max(2);
    Histogram::new_with_bounds(1, most, 3).expect("constant precision, and bounds in order")
}

#[expect(clippy::cast_precision_loss, reason = "fewer orders than 2^52")]
fn precise(count: u64) -> f64 {
    count as f64
}

fn progress_bar(config: &Config, rate: u32, sent: u64) -> ProgressBar {
    let target = if config.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(sent), target);
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} answered  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(format!("{rate}/s"));
    bar.enable_steady_tick(PROGRESS_EVERY);
    bar
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let ms = |micros: u64| (precise(micros) / 10.0).round() / 100.0;
        Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p90_ms: ms(histogram.value_at_quantile(0.9)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>12}  answers",
            "rate/s", "goodput/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "503 p99 ms"
        )?;
        for step in &self.steps {
            let Latency {
                p50_ms,
                p90_ms,
                p99_ms,
                max_ms,
            } = &step.latency;
            let refused = step.refused.p99_ms;
            let answers = step
                .answers
                .iter()
                .map(|(status, count)| format!("{status}: {count}"));
            writeln!(
                f,
                "{:>8} {:>9.1} {p50_ms:>10.2} {p90_ms:>10.2} {p99_ms:>10.2} {max_ms:>10.2} {refused:>12.2}  {}",
                step.rate,
                step.goodput,
                answers.collect::<Vec<_>>().join(", ")
            )?;
        }
        write!(
            f,
            "Latency counts from the time at which an order was due, of all that were decided (not 5xx)."
        )
    }
}
