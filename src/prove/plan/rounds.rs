//! Draws directed rounds: each leads to a goal that the planned orders and faults may not reach.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::draw_duration::draw_duration;
use super::faults::draw_failpoint;
use super::operator_plan::{OperatorAction, OperatorPlan};
use super::planned_order::{ABUNDANT_PRODUCT, PlannedOrder, SOLD_OUT_PRODUCT, product_id};
use crate::platform::fault_injection::spec::Direction;
use crate::prove::coverage::Goal;
use crate::prove::faults::{CampaignFault, CampaignFaultKind, OrdersLock};
use crate::prove::recovery_path::RecoveryPath;
use crate::testbed::service_kind::ServiceKind;

/// A goal that is not reached after this many rounds stays a gap.
pub const MAX_ROUNDS_PER_GOAL: usize = 5;
/// Orders of a round, unless payment must decline one.
const ORDERS: usize = 8;
/// Orders of a round in which payment must decline at least one. At the default success rate of
/// 0.9 it approves all of them in 0.6 % of the rounds.
const ORDERS_FOR_DECLINE: usize = 48;

/// A fault, and orders that reach the goal because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectedRound {
    pub goal: Goal,
    pub fault: RoundFault,
    pub orders: Vec<PlannedOrder>,
}

/// When the fault of a round is injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoundFault {
    /// Before the orders: a failpoint or a gremlin rule, which takes effect on them.
    Armed(CampaignFault),
    /// While the orders are in progress.
    Concurrent(CampaignFault),
    /// The service is paused before the orders, and continued when each of them was answered.
    PauseUntilAnswered(ServiceKind),
    /// The service is paused when each order was answered, and continued when each operator was
    /// answered. Operators do not act before.
    PauseForOperators(ServiceKind),
}

impl RoundFault {
    #[must_use]
    pub const fn kind(&self) -> CampaignFaultKind {
        match self {
            Self::Armed(fault) | Self::Concurrent(fault) => fault.kind(),
            Self::PauseUntilAnswered(service) | Self::PauseForOperators(service) => {
                CampaignFaultKind::Pause(*service)
            }
        }
    }
}

/// Draws [`MAX_ROUNDS_PER_GOAL`] rounds for each goal. Which of them run is decided later, so the
/// rounds of a goal depend on the seed only.
pub fn draw_rounds(random: &mut StdRng) -> Vec<DirectedRound> {
    let mut rounds = Vec::new();
    for goal in Goal::all() {
        for _ in 0..MAX_ROUNDS_PER_GOAL {
            rounds.push(draw_round(random, goal));
        }
    }
    rounds
}

fn draw_round(random: &mut StdRng, goal: Goal) -> DirectedRound {
    let (fault, product, orders) = match goal {
        Goal::Fault(kind) => (draw_fault(random, kind), ABUNDANT_PRODUCT, ORDERS),
        Goal::Path(path) => path_conditions(path),
    };
    let mut draw_order = |_| PlannedOrder {
        product_id: product_id(product),
        operators: operators(goal),
        ..PlannedOrder::draw(random)
    };
    DirectedRound {
        goal,
        orders: (0..orders).map(&mut draw_order).collect(),
        fault,
    }
}

/// The operator actions on each order of a round.
fn operators(goal: Goal) -> Option<OperatorPlan> {
    let actions: &[OperatorAction] = match goal {
        Goal::Path(RecoveryPath::CancelledSettledByRecovery) => &[OperatorAction::Cancel],
        Goal::Path(RecoveryPath::ShippedByRecovery) => &[OperatorAction::Fulfil],
        _ => return None,
    };
    Some(OperatorPlan::at_once(actions))
}

/// The fault, the product and the number of orders that lead to a path.
fn path_conditions(path: RecoveryPath) -> (RoundFault, usize, usize) {
    let inventory_paused = RoundFault::PauseUntilAnswered(ServiceKind::Inventory);
    let payment_paused = RoundFault::PauseUntilAnswered(ServiceKind::Payment);
    match path {
        // The requests die after they have stored their orders.
        RecoveryPath::PendingConfirmed => {
            let fault = CampaignFault::Failpoint {
                service: ServiceKind::Order,
                point: "order.placed",
                occurrence: 1,
                stall: None,
            };
            (RoundFault::Armed(fault), ABUNDANT_PRODUCT, ORDERS)
        }
        RecoveryPath::PendingInventoryConfirmed => (inventory_paused, ABUNDANT_PRODUCT, ORDERS),
        RecoveryPath::PendingPaymentConfirmed => (payment_paused, ABUNDANT_PRODUCT, ORDERS),
        // Recovery reserves stock again before it charges, and releases it after the decline.
        RecoveryPath::DeclinedLate | RecoveryPath::ReleasedByRecovery => {
            (payment_paused, ABUNDANT_PRODUCT, ORDERS_FOR_DECLINE)
        }
        // A takeover that finds no stock owes a refund, because an earlier charge may still be on
        // its way.
        RecoveryPath::OutOfStockLate | RecoveryPath::RefundedByRecovery => {
            (inventory_paused, SOLD_OUT_PRODUCT, ORDERS)
        }
        // Inventory holds the stock, and does not answer the operator's attempt.
        RecoveryPath::CancelledSettledByRecovery | RecoveryPath::ShippedByRecovery => {
            let fault = RoundFault::PauseForOperators(ServiceKind::Inventory);
            (fault, ABUNDANT_PRODUCT, ORDERS)
        }
    }
}

fn draw_fault(random: &mut StdRng, kind: CampaignFaultKind) -> RoundFault {
    let duration = draw_duration(random, 300, 2500);
    RoundFault::Concurrent(match kind {
        CampaignFaultKind::Failpoint(service) => {
            return RoundFault::Armed(draw_failpoint(random, service, true));
        }
        CampaignFaultKind::GremlinRule(kind) => {
            return RoundFault::Armed(CampaignFault::GremlinRule {
                service: ServiceKind::Order,
                kind,
                direction: Direction::Inbound,
                every: 1,
                max_fires: random.random_range(1..=4),
            });
        }
        CampaignFaultKind::Kill(service) => CampaignFault::Kill(service),
        CampaignFaultKind::Pause(service) => CampaignFault::Pause { service, duration },
        CampaignFaultKind::Latency(service) => CampaignFault::Latency {
            service,
            delay: draw_duration(random, 200, 2000),
            duration: duration.min(Duration::from_millis(1500)),
        },
        CampaignFaultKind::DatabaseRestart => CampaignFault::DatabaseRestart,
        CampaignFaultKind::DatabaseKill => CampaignFault::DatabaseKill,
        CampaignFaultKind::LockProduct => CampaignFault::LockProduct {
            product_id: product_id(ABUNDANT_PRODUCT),
            duration,
        },
        CampaignFaultKind::LockOrders => CampaignFault::LockOrders {
            lock: OrdersLock::Table,
            duration,
        },
        CampaignFaultKind::StandbyWait => CampaignFault::StandbyWait { duration },
        CampaignFaultKind::EndSessions(service) => CampaignFault::EndSessions(service),
    })
}
