use std::collections::BTreeSet;

use super::faults::{MIN_DATABASE_RESTARTS, MIN_KILLS};
use super::operator_plan::{OperatorAction, OperatorStart};
use super::planned_delivery::PlannedDelivery;
use super::planned_order::{ABUNDANT_PRODUCT, PRODUCTS, SOLD_OUT_PRODUCT, demand, product_id};
use super::rounds::MAX_ROUNDS_PER_GOAL;
use super::schedule::Plan;
use crate::prove::coverage::Goal;
use crate::prove::faults::{CampaignFault, CampaignFaultKind, OrdersLock};
use crate::testbed::service_kind::ServiceKind;

#[test]
fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
    assert_eq!(Plan::new(7, 500, 20, 2), Plan::new(7, 500, 20, 2));
    assert_ne!(Plan::new(7, 500, 20, 2), Plan::new(8, 500, 20, 2));
}

fn kinds(plan: &Plan) -> Vec<CampaignFaultKind> {
    plan.faults.iter().map(|(_, fault)| fault.kind()).collect()
}

fn distinct(kinds: &[CampaignFaultKind]) -> Vec<CampaignFaultKind> {
    kinds
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[test]
fn a_plan_has_every_kind_of_fault_and_the_requested_number_of_kills() {
    let plan = Plan::new(1, 300, 12, 2);
    let kinds = kinds(&plan);
    let kills = kinds
        .iter()
        .filter(|kind| {
            matches!(
                kind,
                CampaignFaultKind::Kill(_) | CampaignFaultKind::Failpoint(_)
            )
        })
        .count();
    assert_eq!(kills, 12);
    assert_eq!(distinct(&kinds), CampaignFaultKind::all());
    assert!(plan.faults.is_sorted_by_key(|(position, _)| *position));
}

#[test]
fn one_fault_of_each_kind_comes_before_any_kind_comes_again() {
    for (seed, kills, database_restarts) in [(1, 30, 2), (2, MIN_KILLS, 5), (3, 1, 0), (4, 0, 3)] {
        let kinds = kinds(&Plan::new(seed, 300, kills, database_restarts));
        let first = &kinds[..distinct(&kinds).len()];
        assert_eq!(distinct(first), distinct(&kinds), "seed {seed}: {kinds:?}");
    }
}

#[test]
fn the_order_of_the_kinds_depends_on_the_seed() {
    let order = |seed| kinds(&Plan::new(seed, 300, 30, 2));
    assert_ne!(order(1)[..5], order(2)[..5]);
}

#[test]
fn the_minimum_numbers_plan_every_kind_and_smaller_ones_do_not() {
    let planned = |kills, restarts| distinct(&kinds(&Plan::new(5, 300, kills, restarts)));
    assert_eq!(
        planned(MIN_KILLS, MIN_DATABASE_RESTARTS),
        CampaignFaultKind::all()
    );
    assert_ne!(
        planned(MIN_KILLS - 1, MIN_DATABASE_RESTARTS),
        CampaignFaultKind::all()
    );
    assert_ne!(
        planned(MIN_KILLS, MIN_DATABASE_RESTARTS - 1),
        CampaignFaultKind::all()
    );
}

#[test]
fn one_kill_brings_locks_waits_and_ended_sessions_of_every_service() {
    let count = |kinds: &[CampaignFaultKind], kind: CampaignFaultKind| {
        kinds.iter().filter(|other| **other == kind).count()
    };
    for (kills, expected) in [(0, 0), (1, 1), (3, 3), (40, 10)] {
        let kinds = kinds(&Plan::new(6, 300, kills, 0));
        for kind in [
            CampaignFaultKind::LockProduct,
            CampaignFaultKind::LockOrders,
            CampaignFaultKind::StandbyWait,
        ] {
            assert_eq!(count(&kinds, kind), expected, "{kind} of {kills} kills");
        }
        for service in ServiceKind::ALL {
            let ended = kinds.contains(&CampaignFaultKind::EndSessions(service));
            assert_eq!(ended, kills > 0, "{service} of {kills} kills");
        }
    }
}

#[test]
fn the_first_lock_of_orders_is_a_table_lock_and_later_ones_are_of_both_kinds() {
    let plan = Plan::new(7, 1000, 100, 0);
    let locks: Vec<_> = plan
        .faults
        .iter()
        .filter_map(|(_, fault)| match fault {
            CampaignFault::LockOrders { lock, .. } => Some(*lock),
            _ => None,
        })
        .collect();
    assert_eq!(locks[0], OrdersLock::Table);
    assert!(locks.contains(&OrdersLock::NewestRows));
    assert!(
        locks
            .iter()
            .filter(|lock| **lock == OrdersLock::Table)
            .count()
            > 1
    );
}

#[test]
fn only_orders_with_a_key_are_replayed() {
    let plan = Plan::new(8, 500, 0, 0);
    assert!(plan.orders.iter().any(|order| order.replays));
    assert!(
        plan.orders
            .iter()
            .all(|order| order.key.is_some() || !order.replays)
    );
    assert!(
        plan.orders
            .iter()
            .any(|order| order.key.is_some() && !order.replays)
    );
}

#[test]
fn half_of_the_products_sell_out() {
    let plan = Plan::new(3, 1000, 0, 0);
    let scarce = plan
        .products
        .iter()
        .filter(|(name, stock)| *stock < demand(&plan.orders, name))
        .count();
    assert_eq!(scarce, PRODUCTS / 2);
}

fn goals_of_rounds(plan: &Plan) -> Vec<Goal> {
    let goals = plan.rounds.iter().map(|round| round.goal);
    goals.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn a_plan_with_every_kind_of_fault_has_five_rounds_for_each_goal() {
    let plan = Plan::new(9, 300, MIN_KILLS, MIN_DATABASE_RESTARTS);
    assert_eq!(goals_of_rounds(&plan), Goal::all());
    assert_eq!(plan.rounds.len(), Goal::all().len() * MAX_ROUNDS_PER_GOAL);
    for round in &plan.rounds {
        if let Goal::Fault(kind) = round.goal {
            assert_eq!(round.fault.kind(), kind);
        }
    }
}

#[test]
fn rounds_inject_only_kinds_of_faults_that_the_plan_has() {
    for (kills, database_restarts) in [(0, 0), (0, 1), (1, 0), (MIN_KILLS - 1, 2), (30, 0)] {
        let plan = Plan::new(10, 300, kills, database_restarts);
        let planned = distinct(&kinds(&plan));
        for round in &plan.rounds {
            assert!(planned.contains(&round.fault.kind()), "{round:?}");
        }
        assert_eq!(plan.rounds.is_empty(), planned.is_empty());
    }
}

#[test]
fn the_stock_for_rounds_never_runs_out_and_their_sold_out_product_has_none() {
    let plan = Plan::new(11, 300, MIN_KILLS, MIN_DATABASE_RESTARTS);
    let stock = |number| {
        let id = product_id(number);
        let product = plan.products.iter().find(|(name, _)| *name == id);
        product.unwrap().1
    };
    let orders: Vec<_> = plan.rounds.iter().flat_map(|round| &round.orders).collect();
    let demand_of = |number| demand(orders.iter().copied(), &product_id(number));
    assert_eq!(stock(ABUNDANT_PRODUCT), demand_of(ABUNDANT_PRODUCT));
    assert_eq!(stock(SOLD_OUT_PRODUCT), 0);
    assert!(demand_of(SOLD_OUT_PRODUCT) > 0);
    assert!(
        orders
            .iter()
            .all(|order| order.key.is_some() || !order.replays)
    );
}

#[test]
fn about_a_third_of_the_orders_have_actions_and_each_choice_of_actions_occurs() {
    let plan = Plan::new(12, 2000, 0, 0);
    let planned: Vec<_> = plan
        .orders
        .iter()
        .filter_map(|o| o.operators.as_ref())
        .collect();
    assert!((500..750).contains(&planned.len()), "{}", planned.len());
    for actions in [
        &[OperatorAction::Cancel][..],
        &[OperatorAction::Fulfil],
        &[OperatorAction::Cancel, OperatorAction::Fulfil],
        &[OperatorAction::Fulfil, OperatorAction::Cancel],
        &[OperatorAction::Retry],
    ] {
        let same = || planned.iter().filter(|plan| plan.actions == actions);
        assert!(
            same().any(|plan| plan.start == OperatorStart::WhenListed),
            "{actions:?}"
        );
        assert!(same().any(|plan| plan.repeats), "{actions:?}");
        assert!(same().any(|plan| !plan.repeats), "{actions:?}");
    }
}

#[test]
fn a_small_plan_has_every_kind_of_delivery() {
    let plan = Plan::new(13, 1, 0, 0);
    let deliveries = || plan.deliveries.iter().map(|(_, delivery)| delivery);
    let products: BTreeSet<_> = plan.products.iter().map(|(name, _)| name).collect();
    let exists = |delivery: &&PlannedDelivery| products.contains(&delivery.product_id);
    assert!(
        deliveries()
            .filter(exists)
            .any(|delivery| delivery.quantity > 0)
    );
    assert!(deliveries().any(|delivery| (-20..0).contains(&delivery.quantity)));
    assert!(deliveries().any(|delivery| delivery.quantity < -20));
    assert!(deliveries().any(|delivery| !exists(&delivery)));
    assert!(plan.deliveries.is_sorted_by_key(|(position, _)| *position));
    // The products of directed rounds stay as the rounds need them.
    for number in [ABUNDANT_PRODUCT, SOLD_OUT_PRODUCT] {
        let id = product_id(number);
        let plan = Plan::new(14, 1000, 0, 0);
        assert!(
            plan.deliveries
                .iter()
                .all(|(_, delivery)| delivery.product_id != id)
        );
    }
}
