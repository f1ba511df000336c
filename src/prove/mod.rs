//! `valerix prove`: a seeded chaos campaign against freshly started services, and a verdict.
//!
//! plan (pure: what the seed decides) → cluster (processes), sessions (faults in the database) and
//! customers (requests) → outcome and check (pure) → report.

pub mod check;
pub(crate) mod cluster;
mod customers;
pub mod outcome;
pub mod plan;
mod report;
mod sessions;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::audit::{self, RemoteDatabases};
use crate::platform::shutdown::Shutdown;
use cluster::Cluster;
use plan::{Fault, Plan};
pub use report::{Report, Verdict};

/// After healing, everything must be settled within this.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// Between two faults, so that the services work meanwhile.
const BREATH: Duration = Duration::from_millis(150);
/// Requests under way at once.
const CUSTOMERS: usize = 24;
/// For each call of the order service's: short, so that a campaign meets more of them.
const STEP_TIMEOUT: Duration = Duration::from_millis(600);
/// Longer than any campaign: that an order expires is tested apart.
const RECOVERY_BOUND: Duration = Duration::from_secs(3600);

/// What to do.
#[derive(Debug, Clone)]
pub struct Config {
    pub seed: u64,
    pub orders: u32,
    pub kills: u32,
    pub database_restarts: u32,
    /// Where the campaign's database is kept; a directory of its own that is removed at the end,
    /// when not given.
    pub data_dir: Option<PathBuf>,
    /// SQL statements that run before the check: tests show with them that the check finds what
    /// they break.
    pub tamper: Option<String>,
    pub progress: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(transparent)]
    Postgres(#[from] crate::testbed::postgres::PostgresError),
    #[error(transparent)]
    Schema(#[from] crate::platform::db::SchemaError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error("the campaign's database: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0} ended, or was not ready within 30 s; its last lines:\n{1}")]
    NotReady(&'static str, String),
}

/// Runs the campaign on the calling thread's `LocalSet`. Returns nothing when it was asked to stop.
///
/// # Errors
/// When it could not be run; what it found is in the report.
pub async fn run(config: &Config, shutdown: &Shutdown) -> Result<Option<Report>, ProveError> {
    let plan = Plan::new(
        config.seed,
        config.orders,
        config.kills,
        config.database_restarts,
    );
    let started = Instant::now();
    let mut cluster = Cluster::open(plan.seed, config.data_dir.as_deref()).await?;
    let whole = async {
        cluster.start(&plan.products).await?;
        campaign(config, &plan, &mut cluster, started).await
    };
    let outcome = tokio::select! {
        outcome = whole => outcome.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    cluster.end().await?;
    outcome
}

async fn campaign(
    config: &Config,
    plan: &Plan,
    cluster: &mut Cluster,
    started: Instant,
) -> Result<Report, ProveError> {
    let bar = progress_bar(config, plan);
    let queue = Rc::new(customers::Queue::new(
        plan,
        cluster.order_url(),
        bar.clone(),
    ));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|_| tokio::task::spawn_local(customers::shop(Rc::clone(&queue))))
        .collect();
    let mut faults = report::Faults::default();
    for (position, fault) in &plan.faults {
        cluster.run_until(queue.open_up_to(*position)).await?;
        bar.set_message(fault.name());
        if cluster.inflict(fault).await? {
            faults.count(fault);
        }
        tokio::time::sleep(BREATH).await;
    }
    cluster
        .run_until(queue.open_up_to(plan.requests.len()))
        .await?;
    for customer in customers {
        cluster
            .run_until(customer)
            .await?
            .map_err(std::io::Error::other)?;
    }
    bar.set_message("healing");
    cluster.heal().await?;
    let healed = Instant::now();
    let unsettled = cluster.quiet(QUIET_LIMIT).await?;
    let time_to_quiet = healed.elapsed();
    bar.finish_and_clear();
    if let Some(statements) = &config.tamper {
        cluster.execute(statements).await?;
    }
    faults.struck = cluster.struck();
    let books = cluster.books().await?;
    let customers = queue.customers();
    let findings = check::check(&customers, &books);
    let audit = audit::run(
        &cluster.database_url(),
        RECOVERY_BOUND,
        &RemoteDatabases::default(),
    )
    .await?;
    Ok(Report::new(
        config,
        started.elapsed(),
        time_to_quiet,
        unsettled,
        &customers,
        faults,
        cluster.paths().await?,
        findings,
        audit,
    ))
}

fn progress_bar(config: &Config, plan: &Plan) -> ProgressBar {
    let target = if config.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(plan.requests.len() as u64), target);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} orders  {elapsed}  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Fault {
    fn name(&self) -> String {
        self.kind().to_string()
    }
}
