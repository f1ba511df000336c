//! Runs a campaign from its plan to its report.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::check::check;
use super::config::{Config, SETTLE_TIMEOUT};
use super::customer::Customer;
use super::error::ProveError;
use super::faults::ChaosCluster;
use super::order_queue::OrderQueue;
use super::place_orders::place_orders;
use super::plan::Plan;
use super::recovery_paths;
use super::report::{CampaignResult, InjectedFaults, Report};
use super::stored_state::StoredState;
use crate::audit::{self, RemoteDatabases};
use crate::platform::shutdown::Shutdown;
use crate::testbed::service_kind::ServiceKind;

/// Pause between two faults, in which the services can work.
const FAULT_INTERVAL: Duration = Duration::from_millis(150);
/// The number of customers that place orders at the same time.
const MAX_CONCURRENT_CUSTOMERS: usize = 24;
/// The services' default recovery bound, for the audit.
const RECOVERY_BOUND: Duration = Duration::from_secs(3600);

/// Runs a campaign. Needs a `LocalSet`. Returns `None` when a stop was requested before the end.
///
/// # Errors
/// When the campaign could not be run. Violations are not errors; the report lists them.
pub async fn run(config: &Config, shutdown: &Shutdown) -> Result<Option<Report>, ProveError> {
    let plan = Plan::new(
        config.seed,
        config.orders,
        config.kills,
        config.database_restarts,
    );
    let started = Instant::now();
    let mut chaos_cluster = ChaosCluster::open("prove", plan.seed, config.data_dir.clone()).await?;
    let campaign = async {
        chaos_cluster.start(&plan.products).await?;
        let result = run_plan(config, &plan, &mut chaos_cluster).await?;
        Ok(Report::new(config, started.elapsed(), result))
    };
    let outcome = tokio::select! {
        outcome = campaign => outcome.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    chaos_cluster.stop().await?;
    outcome
}

async fn run_plan(
    config: &Config,
    plan: &Plan,
    chaos_cluster: &mut ChaosCluster,
) -> Result<CampaignResult, ProveError> {
    let progress_bar = progress_bar(config, plan);
    let (customers, mut faults) =
        place_orders_and_inject_faults(plan, chaos_cluster, &progress_bar).await?;
    progress_bar.set_message("waiting until every order is settled");
    chaos_cluster.end_all_faults().await?;
    let faults_ended = Instant::now();
    let unsettled = chaos_cluster.wait_until_settled(SETTLE_TIMEOUT).await?;
    let time_to_settle = faults_ended.elapsed();
    progress_bar.finish_and_clear();

    let client = chaos_cluster.connect().await?;
    if let Some(statements) = &config.tamper {
        client.batch_execute(statements).await?;
    }
    faults.observed = chaos_cluster.observed_faults();
    let stored = StoredState::read(&client).await?;
    let database_url = chaos_cluster.cluster().database_url();
    let audit = audit::run(database_url, RECOVERY_BOUND, &RemoteDatabases::default()).await?;
    Ok(CampaignResult {
        time_to_settle,
        unsettled,
        findings: check(&customers, &stored),
        customers,
        faults,
        recovery_paths: recovery_paths::count(&client).await?,
        audit,
    })
}

/// Lets the customers place all orders, and injects each fault at its position among them.
async fn place_orders_and_inject_faults(
    plan: &Plan,
    chaos_cluster: &mut ChaosCluster,
    progress_bar: &ProgressBar,
) -> Result<(Vec<Customer>, InjectedFaults), ProveError> {
    let queue = Rc::new(OrderQueue::new(plan.orders.clone(), progress_bar.clone()));
    let url = format!("{}/orders", chaos_cluster.cluster().url(ServiceKind::Order));
    let customers: Vec<_> = (0..MAX_CONCURRENT_CUSTOMERS)
        .map(|_| tokio::task::spawn_local(place_orders(Rc::clone(&queue), url.clone())))
        .collect();
    let mut faults = InjectedFaults::default();
    for (position, fault) in &plan.faults {
        chaos_cluster
            .run_until(queue.allow_up_to(*position))
            .await?;
        progress_bar.set_message(fault.kind().to_string());
        if chaos_cluster.inject(fault).await? {
            faults.count(fault.kind());
        }
        tokio::time::sleep(FAULT_INTERVAL).await;
    }
    chaos_cluster
        .run_until(queue.allow_up_to(plan.orders.len()))
        .await?;
    for customer in customers {
        chaos_cluster
            .run_until(customer)
            .await?
            .map_err(io::Error::other)?;
    }
    Ok((queue.customers(), faults))
}

fn progress_bar(config: &Config, plan: &Plan) -> ProgressBar {
    let target = if config.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(plan.orders.len() as u64), target);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} orders  {elapsed}  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
