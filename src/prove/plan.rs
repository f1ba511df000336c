//! What a seed decides: every request, every fault, and at which request each fault comes. Pure.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use uuid::Uuid;

use crate::platform::crash;
use crate::platform::gremlin::rule::{self, Direction};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Order,
    Inventory,
    Payment,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Order, Self::Inventory, Self::Payment];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
        }
    }
}

/// One customer's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub product_id: String,
    pub quantity: i32,
    /// With a key the customer asks again when there is no answer; without one that would buy twice.
    pub key: Option<String>,
}

/// What is done to the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, and a fresh start.
    Kill(Role),
    /// kill -9, and a start with a crash point armed: at its nth passing, if it comes to that, the process aborts, or
    /// one request in it stalls and wakes late.
    Crash { role: Role, point: &'static str, turn: u32, stall: Option<Duration> },
    /// SIGSTOP, and SIGCONT after so long.
    Stop(Role, Duration),
    /// The gremlin makes every answer this late, for so long.
    Latency { role: Role, delay: Duration, lasting: Duration },
    /// The gremlin has such a rule until it has fired so often.
    Gremlin { role: Role, kind: rule::Kind, direction: Direction, every: u32, max_fires: u32 },
    /// An orderly stop of the database, and a start.
    DatabaseRestart,
    /// kill -9 of the database, and a start.
    DatabaseKill,
}

/// A fault without its particulars, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Kill(Role),
    Crash(Role),
    Stop(Role),
    Latency(Role),
    Gremlin(rule::Kind),
    DatabaseRestart,
    DatabaseKill,
}

impl Kind {
    /// All there are; a campaign in which one never came proves too little.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of_role = |role| [Self::Kill(role), Self::Crash(role), Self::Stop(role), Self::Latency(role)];
        let mut all: Vec<_> = Role::ALL.into_iter().flat_map(of_role).collect();
        all.extend(rule::Kind::ALL.iter().copied().map(Self::Gremlin));
        all.extend([Self::DatabaseRestart, Self::DatabaseKill]);
        all.sort();
        all
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kill(role) => write!(f, "kill-{}", role.as_str()),
            Self::Crash(role) => write!(f, "crash-point-{}", role.as_str()),
            Self::Stop(role) => write!(f, "stop-{}", role.as_str()),
            Self::Latency(role) => write!(f, "latency-{}", role.as_str()),
            Self::Gremlin(kind) => write!(f, "gremlin-{kind}"),
            Self::DatabaseRestart => write!(f, "database-restart"),
            Self::DatabaseKill => write!(f, "database-kill"),
        }
    }
}

impl Fault {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Kill(role) => Kind::Kill(*role),
            Self::Crash { role, .. } => Kind::Crash(*role),
            Self::Stop(role, _) => Kind::Stop(*role),
            Self::Latency { role, .. } => Kind::Latency(*role),
            Self::Gremlin { kind, .. } => Kind::Gremlin(*kind),
            Self::DatabaseRestart => Kind::DatabaseRestart,
            Self::DatabaseKill => Kind::DatabaseKill,
        }
    }
}

/// A whole campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub requests: Vec<Request>,
    /// Each with the number of requests that are let through before it.
    pub faults: Vec<(usize, Fault)>,
    /// Products and their stock: some plenty, some that sell out on the way.
    pub products: Vec<(String, i32)>,
}

const PRODUCTS: usize = 8;
/// Of the demand for a scarce product, the share that is in stock.
const SCARCE: f64 = 0.35;

impl Plan {
    #[must_use]
    pub fn new(seed: u64, orders: u32, kills: u32, database_restarts: u32) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let requests: Vec<_> = (0..orders).map(|_| request(&mut random)).collect();
        let products = (0..PRODUCTS).map(|n| product(n, &requests)).collect();
        let mut kinds = faults(&mut random, kills, database_restarts);
        kinds.shuffle(&mut random);
        let mut positions: Vec<_> = kinds.iter().map(|_| random.random_range(0..=requests.len())).collect();
        positions.sort_unstable();
        Self { seed, requests, faults: positions.into_iter().zip(kinds).collect(), products }
    }
}

fn name(product: usize) -> String {
    format!("P-{product}")
}

fn request(random: &mut StdRng) -> Request {
    let keyed = random.random_bool(0.5);
    let bytes: [u8; 16] = random.random();
    Request {
        product_id: name(random.random_range(0..PRODUCTS)),
        quantity: random.random_range(1..=3),
        key: keyed.then(|| Uuid::from_bytes(bytes).to_string()),
    }
}

/// Odd products are scarce.
fn product(number: usize, requests: &[Request]) -> (String, i32) {
    let name = name(number);
    let demand: i32 = requests.iter().filter(|request| request.product_id == name).map(|r| r.quantity).sum();
    #[expect(clippy::cast_possible_truncation, reason = "a share of an i32")]
    let scarce = (f64::from(demand) * SCARCE) as i32;
    (name, if number.is_multiple_of(2) { demand } else { scarce })
}

/// Crash points that an order passes when all goes well.
const COMMON: &[&str] = &[
    "order.placed",
    "order.reserved",
    "order.charged",
    "inventory.reserve.begin",
    "inventory.reserve.committed",
    "payment.charge.decided",
    "payment.charge.committed",
];

/// So many kills over the roles, and in proportion of everything else, at least one of each for each role.
fn faults(random: &mut StdRng, kills: u32, database_restarts: u32) -> Vec<Fault> {
    let mut all = Vec::new();
    let roles = |count: u32| (0..count).map(|n| Role::ALL[n as usize % Role::ALL.len()]);
    let others = (kills / 4).max(3).min(kills);
    // A third of the kills come at a named place between two steps, the others at any moment.
    let crashes = (kills / 3).max(3).min(kills);
    all.extend(roles(kills.saturating_sub(crashes)).map(Fault::Kill));
    for (n, role) in roles(crashes).enumerate() {
        // The first of each role at a place that any order passes, so that it is surely reached.
        let first = n < Role::ALL.len();
        let points: Vec<_> = crash::POINTS.iter().filter(|point| point.starts_with(role.as_str())).collect();
        let common: Vec<_> = points.iter().filter(|point| !first || COMMON.contains(point)).collect();
        let point = common.choose(random).map_or(crash::POINTS[0], |point| ***point);
        let turn = if first { 1 } else { random.random_range(1..=4) };
        let late = Duration::from_millis(random.random_range(1000..=4000));
        let stall = (!first && random.random_bool(0.5)).then_some(late);
        all.push(Fault::Crash { role, point, turn, stall });
    }
    let mut between = |low: u64, high: u64| Duration::from_millis(random.random_range(low..=high));
    all.extend(roles(others).map(|role| Fault::Stop(role, between(300, 2500))));
    for role in roles(others) {
        all.push(Fault::Latency { role, delay: between(200, 2000), lasting: between(300, 1500) });
    }
    all.extend(rules(random, others.max(kills.min(1) * GREMLIN_LEAST)));
    let database = |n: u32| if n.is_multiple_of(2) { Fault::DatabaseRestart } else { Fault::DatabaseKill };
    all.extend((0..database_restarts).map(database));
    all
}

/// Each kind of rule twice: at payment or inventory, whose answers an order waits for, and at order.
const GREMLIN_LEAST: u32 = 12;

/// So many of the gremlin's rules, each kind in turn.
fn rules(random: &mut StdRng, count: u32) -> Vec<Fault> {
    let kinds = (0..count as usize).map(|n| (n, rule::Kind::ALL[n % rule::Kind::ALL.len()]));
    kinds
        .map(|(n, kind)| {
            let round = n / rule::Kind::ALL.len();
            let role = [Role::Payment, Role::Order, Role::Inventory][round % 3];
            // Only order calls others.
            let outbound = role == Role::Order && random.random_bool(0.5);
            Fault::Gremlin {
                role,
                kind,
                direction: if outbound { Direction::Outbound } else { Direction::Inbound },
                every: random.random_range(1..=3),
                max_fires: random.random_range(1..=4),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_another_seed_otherwise() {
        assert_eq!(Plan::new(7, 500, 20, 2), Plan::new(7, 500, 20, 2));
        assert_ne!(Plan::new(7, 500, 20, 2), Plan::new(8, 500, 20, 2));
    }

    #[test]
    fn every_kind_of_fault_comes_and_as_many_kills_as_asked_for() {
        let plan = Plan::new(1, 300, 12, 2);
        let mut kinds: Vec<_> = plan.faults.iter().map(|(_, fault)| fault.kind()).collect();
        let kills = kinds.iter().filter(|kind| matches!(kind, Kind::Kill(_) | Kind::Crash(_))).count();
        assert_eq!(kills, 12);
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, Kind::all());
        assert!(plan.faults.is_sorted_by_key(|(position, _)| *position));
    }

    #[test]
    fn half_of_the_products_sell_out() {
        let plan = Plan::new(3, 1000, 0, 0);
        let demand = |name: &str| -> i32 {
            plan.requests
                .iter()
                .filter(|request| request.product_id == name)
                .map(|request| request.quantity)
                .sum()
        };
        let scarce = plan.products.iter().filter(|(name, stock)| *stock < demand(name)).count();
        assert_eq!(scarce, PRODUCTS / 2);
    }
}
