//! Runs a campaign from its plan to its report.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::check::check;
use super::concurrent_customers::ConcurrentCustomers;
use super::concurrent_deliveries::ConcurrentDeliveries;
use super::config::{Config, SETTLE_TIMEOUT};
use super::coverage::Coverage;
use super::directed_rounds::{self, RoundsRun};
use super::error::ProveError;
use super::faults::ChaosCluster;
use super::injected_faults::InjectedFaults;
use super::plan::Plan;
use super::progress::{Phase, ProgressReporter};
use super::record::CampaignRecord;
use super::report::{CampaignResult, Report, Settling};
use super::stored_state::StoredState;
use crate::platform::shutdown::Shutdown;

/// Pause between two faults, in which the services can work.
const FAULT_INTERVAL: Duration = Duration::from_millis(150);
/// The services' default recovery bound, for the audit.
const RECOVERY_BOUND: Duration = Duration::from_secs(3600);

/// Runs a campaign, and reports its progress. Needs a `LocalSet`. Returns `None` when a stop was
/// requested before the end.
///
/// # Errors
/// When the campaign could not be run. Violations are not errors; the report lists them.
pub async fn run(
    config: &Config,
    shutdown: &Shutdown,
    progress: ProgressReporter,
) -> Result<Option<Report>, ProveError> {
    let plan = Plan::new(
        config.seed,
        config.orders,
        config.kills,
        config.database_restarts,
    );
    let started = Instant::now();
    progress.planned(plan.orders.len(), plan.faults.len());
    let mut chaos_cluster = ChaosCluster::open("prove", plan.seed, config.data_dir.clone()).await?;
    let campaign = async {
        chaos_cluster.start(&plan.products).await?;
        let result = run_plan(config, &plan, &mut chaos_cluster, &progress).await?;
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
    progress: &ProgressReporter,
) -> Result<CampaignResult, ProveError> {
    let (mut record, faults) =
        place_orders_and_inject_faults(plan, chaos_cluster, progress).await?;
    let mut coverage = Coverage::of(faults);
    let mut settling = settle(chaos_cluster, &mut coverage, progress).await?;
    let mut rounds = RoundsRun::default();
    // A round ends when no order is unsettled, so it cannot follow orders that did not settle.
    if settling.unsettled == 0 {
        rounds = directed_rounds::run(
            plan,
            &config.discounted,
            chaos_cluster,
            &mut coverage,
            progress,
        )
        .await?;
    }
    if !rounds.customers.is_empty() {
        let after_rounds = settle(chaos_cluster, &mut coverage, progress).await?;
        settling = settling.followed_by(after_rounds);
    }
    progress.phase(Phase::Checking);

    let mut session = chaos_cluster.session();
    if let Some(statements) = &config.tamper {
        let tamper = async |client: &Client| client.batch_execute(statements).await;
        session.ask(tamper).await?;
    }
    let stored = session.ask(StoredState::read).await?;
    let audit = chaos_cluster.audit(RECOVERY_BOUND).await?;
    let added_orders = rounds.customers.len();
    record.customers.extend(rounds.customers);
    Ok(CampaignResult {
        settling,
        findings: check(&record, &stored),
        record,
        added_orders,
        rounds: rounds.by_goal,
        coverage,
        audit,
    })
}

/// Ends all faults, and waits until every order is settled.
async fn settle(
    chaos_cluster: &mut ChaosCluster,
    coverage: &mut Coverage,
    progress: &ProgressReporter,
) -> Result<Settling, ProveError> {
    progress.phase(Phase::Settling);
    chaos_cluster.end_all_faults().await?;
    let faults_ended = Instant::now();
    let unsettled = chaos_cluster.wait_until_settled(SETTLE_TIMEOUT).await?;
    let duration = faults_ended.elapsed();
    let mut session = chaos_cluster.session();
    coverage.update(chaos_cluster, &mut session).await?;
    progress.coverage(coverage);
    Ok(Settling {
        duration,
        unsettled,
    })
}

/// Lets the customers place all orders, and injects each fault and sends each delivery at its
/// position among them.
async fn place_orders_and_inject_faults(
    plan: &Plan,
    chaos_cluster: &mut ChaosCluster,
    progress: &ProgressReporter,
) -> Result<(CampaignRecord, InjectedFaults), ProveError> {
    progress.phase(Phase::PlacingOrders);
    let customers = ConcurrentCustomers::start(&plan.orders, chaos_cluster, progress);
    customers.allow_operators();
    let mut deliveries = ConcurrentDeliveries::new(&plan.deliveries, chaos_cluster);
    let mut faults = InjectedFaults::default();
    for (position, fault) in &plan.faults {
        deliveries
            .start_up_to(*position, &customers, chaos_cluster)
            .await?;
        customers.place_up_to(*position, chaos_cluster).await?;
        progress.fault_begins(fault.into());
        if chaos_cluster.inject(fault).await? {
            faults.count(fault.kind());
        }
        tokio::time::sleep(FAULT_INTERVAL).await;
    }
    deliveries
        .start_up_to(plan.orders.len(), &customers, chaos_cluster)
        .await?;
    let record = CampaignRecord {
        customers: customers.finish(chaos_cluster).await?,
        deliveries: deliveries.finish(chaos_cluster).await?,
        opening_stock: plan.products.iter().cloned().collect(),
    };
    Ok((record, faults))
}
