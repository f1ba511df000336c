//! A whole campaign, drawn from a seed.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::faults::draw_faults;
use super::operator_plan::OperatorPlan;
use super::planned_delivery::{PlannedDelivery, draw_deliveries};
use super::planned_order::{
    ABUNDANT_PRODUCT, PlannedOrder, SOLD_OUT_PRODUCT, demand, product_id, products,
};
use super::rounds::{DirectedRound, draw_rounds};
use crate::prove::faults::CampaignFault;

/// The orders, products, deliveries and faults of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub orders: Vec<PlannedOrder>,
    /// Each fault with the number of orders that customers may place before it.
    pub faults: Vec<(usize, CampaignFault)>,
    /// Each delivery with the number of orders that customers may place before it.
    pub deliveries: Vec<(usize, PlannedDelivery)>,
    /// The directed rounds that may run, those of one goal one after the other. They inject only
    /// kinds of faults that `faults` has.
    pub rounds: Vec<DirectedRound>,
    /// Each product with its opening stock. Half of the products that planned orders are for sell
    /// out, unless deliveries or cancellations change that.
    pub products: Vec<(String, i32)>,
}

impl Plan {
    /// Draws a plan. The same arguments always give the same plan. One fault of each kind comes
    /// before any kind comes a second time.
    #[must_use]
    pub fn new(seed: u64, orders: u32, kills: u32, database_restarts: u32) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut orders: Vec<_> = (0..orders)
            .map(|_| PlannedOrder::draw(&mut random))
            .collect();
        let faults = draw_faults(&mut random, kills, database_restarts);
        let faults = shuffle_each_kind_first(&mut random, faults);
        // The last tenth of the orders comes after all faults, so that the last failpoints and
        // rules have requests to act on.
        let last_position = orders.len() * 9 / 10;
        let mut positions: Vec<_> = faults
            .iter()
            .map(|_| random.random_range(0..=last_position))
            .collect();
        positions.sort_unstable();
        let rounds = draw_rounds(&mut random);
        for order in &mut orders {
            order.operators = OperatorPlan::draw(&mut random);
        }
        let deliveries = draw_deliveries(&mut random, orders.len());
        let mut products = products(&orders);
        products.extend(round_products(&rounds));
        Self {
            seed,
            products,
            orders,
            deliveries,
            rounds: keep_planned_kinds(rounds, &faults),
            faults: positions.into_iter().zip(faults).collect(),
        }
    }
}

/// The products that only directed rounds order.
fn round_products(rounds: &[DirectedRound]) -> [(String, i32); 2] {
    let orders = rounds.iter().flat_map(|round| &round.orders);
    let abundant = product_id(ABUNDANT_PRODUCT);
    let demand = demand(orders, &abundant);
    [(abundant, demand), (product_id(SOLD_OUT_PRODUCT), 0)]
}

/// Leaves out rounds with faults that the user did not ask for.
fn keep_planned_kinds(
    mut rounds: Vec<DirectedRound>,
    faults: &[CampaignFault],
) -> Vec<DirectedRound> {
    let planned: BTreeSet<_> = faults.iter().map(CampaignFault::kind).collect();
    rounds.retain(|round| planned.contains(&round.fault.kind()));
    rounds
}

/// Returns the first fault of each kind in random order, then all others in random order.
fn shuffle_each_kind_first(random: &mut StdRng, faults: Vec<CampaignFault>) -> Vec<CampaignFault> {
    let mut kinds = BTreeSet::new();
    let (mut first, mut others): (Vec<_>, Vec<_>) = faults
        .into_iter()
        .partition(|fault| kinds.insert(fault.kind()));
    first.shuffle(random);
    others.shuffle(random);
    first.extend(others);
    first
}
