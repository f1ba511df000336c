//! Runs a soak from start to report.

use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::config::{Config, SETTLE_TIMEOUT};
use super::error::SoakError;
use super::fault::{FAULT_INTERVAL, SoakFault, faults_per_sample};
use super::report::{Report, SoakResult};
use super::sampler::{Sample, take_sample};
use crate::load;
use crate::platform::client::BaseUrl;
use crate::platform::shutdown::Shutdown;
use crate::prove::faults::ChaosCluster;
use crate::testbed::service_kind::ServiceKind;

/// Units of each product: enough for 347 days at 100 orders per second.
const STOCK: i32 = 1_000_000_000;
const PRODUCTS: [&str; 3] = ["S-1", "S-2", "S-3"];
const MAX_CONNECTIONS: usize = 256;
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
/// Only for the audit. The services keep their default of one hour, and no fault lasts that long.
const RECOVERY_BOUND: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Runs a soak. Needs a `LocalSet`. Returns `None` when a stop was requested before the end.
///
/// # Errors
/// When the soak could not be run. What it found is in the report.
pub async fn run(config: &Config, shutdown: &Shutdown) -> Result<Option<Report>, SoakError> {
    let products = PRODUCTS.map(|name| (name.to_owned(), STOCK));
    let mut chaos_cluster =
        ChaosCluster::open("soak", rand::random(), config.data_dir.clone()).await?;
    let soak = async {
        chaos_cluster.start(&products).await?;
        soak(config, &mut chaos_cluster, shutdown).await
    };
    let outcome = tokio::select! {
        outcome = soak => outcome.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    chaos_cluster.stop().await?;
    outcome
}

async fn soak(
    config: &Config,
    chaos_cluster: &mut ChaosCluster,
    shutdown: &Shutdown,
) -> Result<Report, SoakError> {
    let url = chaos_cluster.cluster().url(ServiceKind::Order);
    let load = place_orders(config.clone(), url, shutdown.clone());
    let load = tokio::task::spawn_local(load);
    let (samples, deaths) = inject_and_sample(config, chaos_cluster).await?;
    let load = load.await.map_err(io::Error::other)?;
    let unsettled = chaos_cluster.wait_until_settled(SETTLE_TIMEOUT).await?;
    let audit = chaos_cluster.audit(RECOVERY_BOUND).await?;
    let result = SoakResult {
        load,
        samples,
        deaths,
        internal_errors: chaos_cluster.observed_faults().internal_errors,
        unsettled,
        audit,
    };
    Ok(Report::new(config, result))
}

async fn place_orders(config: Config, url: BaseUrl, shutdown: Shutdown) -> load::Report {
    let load = load::Config {
        url,
        rates: vec![config.rate],
        duration: config.duration,
        product_ids: PRODUCTS.map(str::to_owned).to_vec(),
        quantity: 1,
        keys: true,
        connections: MAX_CONNECTIONS,
        timeout: ORDER_TIMEOUT,
        thresholds: load::Thresholds::default(),
        progress: false,
    };
    load::run(&load, &shutdown).await
}

/// Takes samples at equal intervals, and injects faults in between. Also returns how often a
/// service died, which none should.
async fn inject_and_sample(
    config: &Config,
    chaos_cluster: &mut ChaosCluster,
) -> Result<(Vec<Sample>, u32), SoakError> {
    let bar = progress_bar(config);
    let http = awc::Client::builder().timeout(FAULT_INTERVAL).finish();
    let mut faults = SoakFault::round().into_iter().cycle();
    let (mut samples, mut deaths) = (Vec::new(), 0);
    let mut pids = pids(chaos_cluster);
    let started = Instant::now();
    let mut sample_due = started;
    while started.elapsed() < config.duration {
        // `zip` takes from its first iterator first: the other way round, a fault would be lost at
        // the end of each interval.
        let numbers = 1..=faults_per_sample(config.sample_interval);
        for (number, fault) in numbers.zip(faults.by_ref()) {
            bar.set_message(fault.name());
            fault.inject(chaos_cluster).await?;
            tokio::time::sleep_until(sample_due + FAULT_INTERVAL * number).await;
        }
        sample_due += config.sample_interval;
        tokio::time::sleep_until(sample_due).await;
        bar.set_position(started.elapsed().as_secs());
        samples.extend(take_sample(chaos_cluster, &http, started.elapsed()).await?);
        let present = self::pids(chaos_cluster);
        let changed = present
            .iter()
            .zip(&pids)
            .filter(|(present, previous)| present != previous);
        deaths += u32::try_from(changed.count()).unwrap_or(u32::MAX);
        pids = present;
    }
    bar.finish_and_clear();
    Ok((samples, deaths))
}

/// A service that dies gets another process id, because injecting a fault starts it again.
fn pids(chaos_cluster: &ChaosCluster) -> [Option<i32>; 3] {
    ServiceKind::ALL.map(|service| chaos_cluster.cluster().pid(service))
}

fn progress_bar(config: &Config) -> ProgressBar {
    let target = if config.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(config.duration.as_secs()), target);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
