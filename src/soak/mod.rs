//! `valerix soak`: the platform under moderate load and faults for a chosen time, watched for what
//! grows.
//!
//! cluster (of `prove`) and load → faults, samples → trend (pure) → report. No process is killed:
//! what it has gathered would be gone with it.

mod report;
pub mod sampler;
pub mod trend;

use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::audit::{self, RemoteDatabases};
use crate::load;
use crate::platform::client::BaseUrl;
use crate::platform::fault_injection::spec;
use crate::platform::fault_injection::spec::Direction;
use crate::platform::shutdown::Shutdown;
use crate::prove::ProveError;
use crate::prove::cluster::Cluster;
use crate::prove::plan::{Fault, Role};
pub use report::Report;
use sampler::Sample;

/// Everything ordered comes from here, whatever the soak's length.
const STOCK: i32 = 1_000_000_000;
const PRODUCTS: [&str; 3] = ["S-1", "S-2", "S-3"];
const CONNECTIONS: usize = 256;
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
/// After the last fault, everything must be settled within this.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// From one fault to the next: longer than most of them last.
const FAULT_TAKES: Duration = Duration::from_secs(3);
/// Longer than any soak: that an order expires is tested apart.
const RECOVERY_BOUND: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What to do.
#[derive(Debug, Clone)]
pub struct Config {
    pub duration: Duration,
    /// Orders per second.
    pub rate: u32,
    pub sample_every: Duration,
    /// Where the soak's database is kept; a directory of its own that is removed at the end, when
    /// not given.
    pub data_dir: Option<PathBuf>,
    pub progress: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    #[error(transparent)]
    Cluster(#[from] ProveError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error("the soak's database: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("a service does not tell {0}")]
    NotTold(&'static str),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs on the calling thread's `LocalSet`. Returns nothing when it was asked to stop.
///
/// # Errors
/// When it could not be run; what it found is in the report.
pub async fn run(config: &Config, shutdown: &Shutdown) -> Result<Option<Report>, SoakError> {
    let products: Vec<_> = PRODUCTS
        .iter()
        .map(|name| ((*name).to_owned(), STOCK))
        .collect();
    let mut cluster = Cluster::open(rand::random(), config.data_dir.as_deref()).await?;
    let whole = async {
        cluster.start(&products).await?;
        soak(config, &mut cluster, shutdown).await
    };
    let outcome = tokio::select! {
        outcome = whole => outcome.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    cluster.end().await?;
    outcome
}

async fn soak(
    config: &Config,
    cluster: &mut Cluster,
    shutdown: &Shutdown,
) -> Result<Report, SoakError> {
    let load = place_orders(
        config.clone(),
        cluster.url_of(Role::Order)?,
        shutdown.clone(),
    );
    let load = tokio::task::spawn_local(load);
    let (samples, deaths) = observe(config, cluster).await?;
    let load = load.await.map_err(std::io::Error::other)?;
    let unsettled = cluster.quiet(QUIET_LIMIT).await?;
    let audit = audit::run(
        &cluster.database_url(),
        RECOVERY_BOUND,
        &RemoteDatabases::default(),
    )
    .await?;
    let mistakes = cluster.struck().mistakes;
    Ok(Report::new(
        config, samples, deaths, mistakes, load, unsettled, audit,
    ))
}

async fn place_orders(config: Config, url: BaseUrl, shutdown: Shutdown) -> load::Report {
    let load = load::Config {
        url,
        rates: vec![config.rate],
        duration: config.duration,
        product_ids: PRODUCTS.iter().map(|name| (*name).to_owned()).collect(),
        quantity: 1,
        keys: true,
        connections: CONNECTIONS,
        timeout: ORDER_TIMEOUT,
        progress: false,
    };
    load::run(&load, &shutdown).await
}

/// Samples at equal distances, and faults in between. Also how often a role was found to have died,
/// which none should.
async fn observe(config: &Config, cluster: &mut Cluster) -> Result<(Vec<Sample>, u32), SoakError> {
    let bar = progress_bar(config);
    let http = awc::Client::builder().timeout(FAULT_TAKES).finish();
    let mut faults = faults().into_iter().cycle();
    let (mut samples, mut deaths) = (Vec::new(), 0);
    let processes = |cluster: &Cluster| Role::ALL.map(|role| cluster.pid(role));
    let mut known = processes(cluster);
    let began = Instant::now();
    let mut due = began;
    while began.elapsed() < config.duration {
        // In this order, so that no fault is taken that is not inflicted.
        for (nth, trouble) in (1..=faults_between_samples(config)).zip(faults.by_ref()) {
            bar.set_message(trouble.name());
            trouble.inflict(cluster).await?;
            tokio::time::sleep_until(due + FAULT_TAKES * nth).await;
        }
        due += config.sample_every;
        tokio::time::sleep_until(due).await;
        bar.set_position(began.elapsed().as_secs());
        samples.extend(sampler::look(cluster, &http, began.elapsed()).await?);
        let present = processes(cluster);
        deaths += present
            .iter()
            .zip(&known)
            .map(|(is, was)| u32::from(is != was))
            .sum::<u32>();
        known = present;
    }
    bar.finish_and_clear();
    Ok((samples, deaths))
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

/// What happens in a soak, one after the other, over and over.
#[derive(Debug, Clone)]
enum IncidentLog {
    OfCampaigns(Fault),
    /// All database connections of a role are ended by the server.
    SessionsEnded(Role),
}

impl IncidentLog {
    fn name(&self) -> String {
        match self {
            Self::OfCampaigns(fault) => fault.kind().to_string(),
            Self::SessionsEnded(role) => format!("sessions-ended-{}", role.as_str()),
        }
    }

    async fn inflict(&self, cluster: &mut Cluster) -> Result<(), SoakError> {
        match self {
            Self::OfCampaigns(fault) => {
                cluster.inflict(fault).await?;
            }
            Self::SessionsEnded(role) => {
                let statement = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
                    role.as_str()
                );
                cluster.execute(&statement).await?;
            }
        }
        Ok(())
    }
}

/// Kills are not among them, nor hangs, which keep a connection for ten minutes on purpose.
fn faults() -> Vec<IncidentLog> {
    let rule = |role, kind, direction| {
        IncidentLog::OfCampaigns(Fault::Gremlin {
            role,
            kind,
            direction,
            every: 5,
            max_fires: 40,
        })
    };
    let slow = |role, delay| {
        let (delay, lasting) = (Duration::from_millis(delay), Duration::from_secs(2));
        IncidentLog::OfCampaigns(Fault::Latency {
            role,
            delay,
            lasting,
        })
    };
    vec![
        slow(Role::Inventory, 200),
        IncidentLog::SessionsEnded(Role::Order),
        rule(Role::Inventory, spec::Kind::Error, Direction::Inbound),
        IncidentLog::SessionsEnded(Role::Inventory),
        rule(Role::Payment, spec::Kind::Vanish, Direction::Inbound),
        slow(Role::Payment, 2000),
        IncidentLog::SessionsEnded(Role::Payment),
        rule(Role::Inventory, spec::Kind::Drop, Direction::Inbound),
        IncidentLog::OfCampaigns(Fault::Stop(Role::Order, Duration::from_secs(1))),
        rule(Role::Order, spec::Kind::Drop, Direction::Outbound),
    ]
}

/// Samples that see every fault once.
fn samples_of_a_round(config: &Config) -> usize {
    faults()
        .len()
        .div_ceil(usize::try_from(faults_between_samples(config)).unwrap_or(usize::MAX))
}

fn faults_between_samples(config: &Config) -> u32 {
    u32::try_from(config.sample_every.as_secs() / FAULT_TAKES.as_secs())
        .unwrap_or(u32::MAX)
        .max(1)
}
