//! Runs directed rounds for the goals that the planned orders and faults have not reached.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::concurrent_customers::ConcurrentCustomers;
use super::config::SETTLE_TIMEOUT;
use super::coverage::{Coverage, Goal};
use super::customer::Customer;
use super::error::ProveError;
use super::faults::{CampaignFault, CampaignFaultKind, ChaosCluster, unsettled_orders};
use super::plan::{DirectedRound, Plan, RoundFault};
use super::progress::{InjectedFault, ProgressReporter};
use crate::testbed::service_kind::ServiceKind;

/// Limits the time from the last answer of a round until a service has logged its fault.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The rounds that were run.
#[derive(Debug, Default)]
pub struct RoundsRun {
    pub customers: Vec<Customer>,
    /// The number of rounds for each goal that needed any.
    pub by_goal: BTreeMap<Goal, u32>,
}

/// Runs the rounds of each goal until it is reached or no round is left, and counts their faults.
/// For a goal of `discounted`, only its own rounds count.
///
/// # Errors
/// When a service or the database does not come back.
pub async fn run(
    plan: &Plan,
    discounted: &[Goal],
    chaos_cluster: &mut ChaosCluster,
    coverage: &mut Coverage,
    progress: &ProgressReporter,
) -> Result<RoundsRun, ProveError> {
    let mut run = RoundsRun::default();
    let mut discounted: BTreeSet<_> = discounted.iter().copied().collect();
    for round in &plan.rounds {
        if discounted.remove(&round.goal) {
            coverage.discount(round.goal);
        }
        if coverage.reaches(round.goal) {
            continue;
        }
        progress.round(round.orders.len());
        // No failpoint, rule or open breaker of an earlier round may disturb this one.
        chaos_cluster.end_all_faults().await?;
        let customers = run_round(round, chaos_cluster, coverage, progress).await?;
        run.customers.extend(customers);
        *run.by_goal.entry(round.goal).or_default() += 1;
        wait_for_goal(round.goal, chaos_cluster, coverage).await?;
        progress.coverage(coverage);
    }
    Ok(run)
}

/// Injects the round's fault and places its orders. Returns when each order was answered.
async fn run_round(
    round: &DirectedRound,
    chaos_cluster: &mut ChaosCluster,
    coverage: &mut Coverage,
    progress: &ProgressReporter,
) -> Result<Vec<Customer>, ProveError> {
    let mut customers = ConcurrentCustomers::start(&round.orders, chaos_cluster, progress);
    match &round.fault {
        RoundFault::Armed(fault) => {
            inject(fault, chaos_cluster, coverage, progress).await?;
            customers.finish(chaos_cluster).await
        }
        RoundFault::Concurrent(fault) => {
            customers.place_all(chaos_cluster).await?;
            inject(fault, chaos_cluster, coverage, progress).await?;
            customers.finish(chaos_cluster).await
        }
        RoundFault::PauseUntilAnswered(service) => {
            pause(*service, chaos_cluster, coverage, progress);
            let customers = customers.finish(chaos_cluster).await?;
            chaos_cluster.resume(*service);
            Ok(customers)
        }
        RoundFault::PauseForOperators(service) => {
            customers.wait_until_answered(chaos_cluster).await?;
            pause(*service, chaos_cluster, coverage, progress);
            let customers = customers.finish(chaos_cluster).await?;
            chaos_cluster.resume(*service);
            Ok(customers)
        }
    }
}

async fn inject(
    fault: &CampaignFault,
    chaos_cluster: &mut ChaosCluster,
    coverage: &mut Coverage,
    progress: &ProgressReporter,
) -> Result<(), ProveError> {
    progress.fault_begins(fault.into());
    if chaos_cluster.inject(fault).await? {
        coverage.faults.count(fault.kind());
    }
    Ok(())
}

/// Pauses a service until the round continues it.
fn pause(
    service: ServiceKind,
    chaos_cluster: &ChaosCluster,
    coverage: &mut Coverage,
    progress: &ProgressReporter,
) {
    progress.fault_begins(InjectedFault::pause(service));
    chaos_cluster.pause(service);
    coverage.faults.count(CampaignFaultKind::Pause(service));
}

/// Waits until the goal is reached, or the round cannot reach it any more. Waits for the round's
/// orders in any case: what recovery still does with them can reach other goals.
async fn wait_for_goal(
    goal: Goal,
    chaos_cluster: &mut ChaosCluster,
    coverage: &mut Coverage,
) -> Result<(), ProveError> {
    let mut session = chaos_cluster.session();
    let started = Instant::now();
    loop {
        let is_settled = session.ask(unsettled_orders).await? == 0;
        coverage.update(chaos_cluster, &mut session).await?;
        let may_be_logged = match goal {
            Goal::Fault(kind) => kind.takes_effect_later() && started.elapsed() < EFFECT_TIMEOUT,
            Goal::Path(_) => false,
        };
        if is_settled && (coverage.reaches(goal) || !may_be_logged)
            || started.elapsed() > SETTLE_TIMEOUT
        {
            return Ok(());
        }
        chaos_cluster.revive().await?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
