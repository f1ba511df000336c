//! Draws the faults of a campaign.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::draw_duration::draw_duration;
use super::planned_order::{PRODUCTS, product_id};
use crate::platform::fault_injection::spec::{Direction, GremlinKind};
use crate::prove::faults::{CampaignFault, OrdersLock};
use crate::testbed::service_kind::ServiceKind;
use crate::{inventory, order, payment};

/// With fewer, some kind of fault is not in the plan.
pub const MIN_KILLS: u32 = 6;
/// With fewer, some kind of fault is not in the plan.
pub const MIN_DATABASE_RESTARTS: u32 = 2;
/// Two rules of each kind: one for the order service, and one for payment, for whose responses an
/// order waits.
const MIN_GREMLIN_RULES: usize = 2 * GremlinKind::ALL.len();

/// Failpoints that every confirmed order passes.
const COMMON_FAILPOINTS: &[&str] = &[
    "order.placed",
    "order.reserved",
    "order.charged",
    "inventory.reserve.begin",
    "inventory.reserve.committed",
    "payment.charge.decided",
    "payment.charge.committed",
];

/// Draws `kills` kills of services, a proportional number of the other faults, and
/// `database_restarts` restarts and kills of the database in turn. With at least [`MIN_KILLS`]
/// kills and [`MIN_DATABASE_RESTARTS`] restarts, there is at least one fault of each kind.
pub fn draw_faults(random: &mut StdRng, kills: u32, database_restarts: u32) -> Vec<CampaignFault> {
    let others = (kills / 4).max(3).min(kills);
    let mut all = draw_kills(random, kills);
    all.extend(services(others).map(|service| CampaignFault::Pause {
        service,
        duration: draw_duration(random, 300, 2500),
    }));
    all.extend(services(others).map(|service| CampaignFault::Latency {
        service,
        delay: draw_duration(random, 200, 2000),
        duration: draw_duration(random, 300, 1500),
    }));
    // Without any kill there are no other faults either.
    let one_if_any = kills.min(1);
    let rules = (others as usize).max(one_if_any as usize * MIN_GREMLIN_RULES);
    all.extend(draw_gremlin_rules(random, rules));
    all.extend(services(others.max(one_if_any * 3)).map(CampaignFault::EndSessions));
    all.extend(draw_locks_and_waits(random, others));
    let database_fault = |number: u32| {
        if number.is_multiple_of(2) {
            CampaignFault::DatabaseRestart
        } else {
            CampaignFault::DatabaseKill
        }
    };
    all.extend((0..database_restarts).map(database_fault));
    all
}

/// The services in turn.
fn services(count: u32) -> impl Iterator<Item = ServiceKind> {
    ServiceKind::ALL.into_iter().cycle().take(count as usize)
}

/// Draws the kills. A third of them, and at least three, restart the service with an armed
/// failpoint. The others only kill and restart it.
fn draw_kills(random: &mut StdRng, kills: u32) -> Vec<CampaignFault> {
    let failpoints = (kills / 3).max(3).min(kills);
    let mut all: Vec<_> = services(kills - failpoints)
        .map(CampaignFault::Kill)
        .collect();
    for (number, service) in services(failpoints).enumerate() {
        let is_first = number < ServiceKind::ALL.len();
        all.push(draw_failpoint(random, service, is_first));
    }
    all
}

/// Draws a failpoint of a service. If it is the first one, every confirmed order passes it, and the
/// process aborts there. So it is reached.
pub fn draw_failpoint(random: &mut StdRng, service: ServiceKind, is_first: bool) -> CampaignFault {
    let failpoints = failpoints(service);
    let candidates: Vec<_> = failpoints
        .iter()
        .filter(|point| !is_first || COMMON_FAILPOINTS.contains(point))
        .collect();
    let point = candidates
        .choose(random)
        .map_or(failpoints[0], |point| **point);
    let occurrence = if is_first {
        1
    } else {
        random.random_range(1..=4)
    };
    let stall = draw_duration(random, 1000, 4000);
    let stall = (!is_first && random.random_bool(0.5)).then_some(stall);
    CampaignFault::Failpoint {
        service,
        point,
        occurrence,
        stall,
    }
}

const fn failpoints(service: ServiceKind) -> &'static [&'static str] {
    match service {
        ServiceKind::Order => order::FAILPOINTS,
        ServiceKind::Inventory => inventory::FAILPOINTS,
        ServiceKind::Payment => payment::FAILPOINTS,
    }
}

/// Draws `count` locks of products, `count` locks of orders, and `count` waits for a standby.
fn draw_locks_and_waits(random: &mut StdRng, count: u32) -> Vec<CampaignFault> {
    let mut all = Vec::new();
    for number in 0..count {
        all.push(CampaignFault::LockProduct {
            product_id: product_id(random.random_range(0..PRODUCTS)),
            duration: draw_duration(random, 300, 2500),
        });
        // The first locks the table, because there may be no row yet.
        let lock = if number == 0 || random.random_bool(0.5) {
            OrdersLock::Table
        } else {
            OrdersLock::NewestRows
        };
        let duration = draw_duration(random, 300, 2500);
        all.push(CampaignFault::LockOrders { lock, duration });
        all.push(CampaignFault::StandbyWait {
            duration: draw_duration(random, 500, 4000),
        });
    }
    all
}

/// Draws `count` gremlin rules, each kind in turn.
fn draw_gremlin_rules(random: &mut StdRng, count: usize) -> Vec<CampaignFault> {
    let kinds = GremlinKind::ALL.iter().copied().cycle().take(count);
    kinds
        .enumerate()
        .map(|(number, kind)| {
            let round = number / GremlinKind::ALL.len();
            let services = [
                ServiceKind::Order,
                ServiceKind::Payment,
                ServiceKind::Inventory,
            ];
            let service = services[round % services.len()];
            // The first rule of each kind surely fires: it applies to the customers' requests. Only
            // the order service calls other services.
            let is_outbound = round > 0 && service == ServiceKind::Order && random.random_bool(0.5);
            CampaignFault::GremlinRule {
                service,
                kind,
                direction: if is_outbound {
                    Direction::Outbound
                } else {
                    Direction::Inbound
                },
                every: random.random_range(1..=3),
                max_fires: random.random_range(1..=4),
            }
        })
        .collect()
}
