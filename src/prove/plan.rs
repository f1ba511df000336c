//! What a seed decides: every request, every fault, and at which request each fault comes. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use uuid::Uuid;

use crate::platform::fault_injection::spec;
use crate::platform::fault_injection::spec::Direction;
use crate::{inventory, order, payment};

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
    /// With a key the customer asks again when there is no answer; without one that would buy
    /// twice.
    pub key: Option<String>,
    /// Whether the customer sends the request once more after it was answered. Only with a key.
    pub replays: bool,
}

/// What of `orders` another session locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrdersLock {
    /// The table, exclusively: no other session can even read it.
    Table,
    /// The newest rows, most of which the order service is about to change.
    NewestRows,
}

/// What is done to the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, and a fresh start.
    Kill(Role),
    /// kill -9, and a start with a crash point armed: at its nth passing, if it comes to that, the
    /// process aborts, or one request in it stalls and wakes late.
    Crash {
        role: Role,
        point: &'static str,
        turn: u32,
        stall: Option<Duration>,
    },
    /// SIGSTOP, and SIGCONT after so long.
    Stop(Role, Duration),
    /// The gremlin makes every answer this late, for so long.
    Latency {
        role: Role,
        delay: Duration,
        lasting: Duration,
    },
    /// The gremlin has such a rule until it has fired so often.
    Gremlin {
        role: Role,
        kind: spec::Kind,
        direction: Direction,
        every: u32,
        max_fires: u32,
    },
    /// An orderly stop of the database, and a start.
    DatabaseRestart,
    /// kill -9 of the database, and a start.
    DatabaseKill,
    /// Another session locks a product's row for a while.
    LockProduct {
        product_id: String,
        lasting: Duration,
    },
    /// Another session locks orders for a while.
    LockOrders { lock: OrdersLock, lasting: Duration },
    /// Commits wait for a standby that does not exist, for a while. What they commit is stored all
    /// the same.
    StandbyWait(Duration),
    /// The database ends all sessions of a role.
    EndSessions(Role),
}

/// A fault without its particulars, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Kill(Role),
    Crash(Role),
    Stop(Role),
    Latency(Role),
    Gremlin(spec::Kind),
    DatabaseRestart,
    DatabaseKill,
    LockProduct,
    LockOrders,
    StandbyWait,
    EndSessions(Role),
}

impl Kind {
    /// All there are; a campaign in which one never came proves too little.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of_role = |role| {
            [
                Self::Kill(role),
                Self::Crash(role),
                Self::Stop(role),
                Self::Latency(role),
                Self::EndSessions(role),
            ]
        };
        let mut all: Vec<_> = Role::ALL.into_iter().flat_map(of_role).collect();
        all.extend(spec::Kind::ALL.iter().copied().map(Self::Gremlin));
        all.extend([Self::DatabaseRestart, Self::DatabaseKill]);
        all.extend([Self::LockProduct, Self::LockOrders, Self::StandbyWait]);
        all.sort();
        all
    }

    /// Whether `--database-restarts` decides how often it comes; `--kills` decides that of all
    /// others.
    #[must_use]
    pub const fn follows_database_restarts(self) -> bool {
        matches!(self, Self::DatabaseRestart | Self::DatabaseKill)
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
            Self::LockProduct => write!(f, "lock-product"),
            Self::LockOrders => write!(f, "lock-orders"),
            Self::StandbyWait => write!(f, "standby-wait"),
            Self::EndSessions(role) => write!(f, "end-sessions-{}", role.as_str()),
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
            Self::LockProduct { .. } => Kind::LockProduct,
            Self::LockOrders { .. } => Kind::LockOrders,
            Self::StandbyWait(_) => Kind::StandbyWait,
            Self::EndSessions(role) => Kind::EndSessions(*role),
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
/// Of the customers with a key, the share that sends an answered request once more.
const REPLAY_SHARE: f64 = 0.3;
/// With fewer kills or restarts, some kind of fault is not in the plan.
pub const MIN_KILLS: u32 = 6;
pub const MIN_DATABASE_RESTARTS: u32 = 2;

impl Plan {
    /// One fault of each kind comes before any kind comes a second time.
    #[must_use]
    pub fn new(seed: u64, orders: u32, kills: u32, database_restarts: u32) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let requests: Vec<_> = (0..orders).map(|_| request(&mut random)).collect();
        let products = (0..PRODUCTS).map(|n| product(n, &requests)).collect();
        let faults = faults(&mut random, kills, database_restarts);
        let faults = each_kind_first(&mut random, faults);
        // The last requests come after all faults, so that a crash point or a rule that waits for
        // one meets it.
        let end = requests.len() * 9 / 10;
        let mut positions: Vec<_> = faults
            .iter()
            .map(|_| random.random_range(0..=end))
            .collect();
        positions.sort_unstable();
        Self {
            seed,
            requests,
            faults: positions.into_iter().zip(faults).collect(),
            products,
        }
    }
}

/// The first fault of each kind, in random order; then all others, in random order.
fn each_kind_first(random: &mut StdRng, faults: Vec<Fault>) -> Vec<Fault> {
    let mut kinds = BTreeSet::new();
    let (mut first, mut others): (Vec<_>, Vec<_>) = faults
        .into_iter()
        .partition(|fault| kinds.insert(fault.kind()));
    first.shuffle(random);
    others.shuffle(random);
    first.extend(others);
    first
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
        replays: keyed && random.random_bool(REPLAY_SHARE),
    }
}

/// Odd products are scarce.
fn product(number: usize, requests: &[Request]) -> (String, i32) {
    let name = name(number);
    let demand: i32 = requests
        .iter()
        .filter(|request| request.product_id == name)
        .map(|r| r.quantity)
        .sum();
    #[expect(clippy::cast_possible_truncation, reason = "a share of an i32")]
    let scarce = (f64::from(demand) * SCARCE) as i32;
    (
        name,
        if number.is_multiple_of(2) {
            demand
        } else {
            scarce
        },
    )
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

/// As many kills as asked for, over the roles; every other fault in proportion, at least one of
/// each kind.
fn faults(random: &mut StdRng, kills: u32, database_restarts: u32) -> Vec<Fault> {
    let others = (kills / 4).max(3).min(kills);
    let mut all = kills_and_crashes(random, kills);
    all.extend(roles(others).map(|role| Fault::Stop(role, between(random, 300, 2500))));
    for role in roles(others) {
        let delay = between(random, 200, 2000);
        all.push(Fault::Latency {
            role,
            delay,
            lasting: between(random, 300, 1500),
        });
    }
    let any = kills.min(1);
    all.extend(rules(random, others.max(any * GREMLIN_LEAST)));
    all.extend(roles(others.max(any * 3)).map(Fault::EndSessions));
    all.extend(locks_and_waits(random, others));
    let database = |n: u32| {
        if n.is_multiple_of(2) {
            Fault::DatabaseRestart
        } else {
            Fault::DatabaseKill
        }
    };
    all.extend((0..database_restarts).map(database));
    all
}

/// Each role in turn.
fn roles(count: u32) -> impl Iterator<Item = Role> {
    (0..count).map(|n| Role::ALL[n as usize % Role::ALL.len()])
}

/// A duration of at least `low` and at most `high` milliseconds.
fn between(random: &mut StdRng, low: u64, high: u64) -> Duration {
    Duration::from_millis(random.random_range(low..=high))
}

/// A third of the kills come at a named place between two steps, the others at any moment.
fn kills_and_crashes(random: &mut StdRng, kills: u32) -> Vec<Fault> {
    let crashes = (kills / 3).max(3).min(kills);
    let mut all: Vec<_> = roles(kills - crashes).map(Fault::Kill).collect();
    for (n, role) in roles(crashes).enumerate() {
        // The first of each role at a place that any order passes, so that it is surely reached.
        let first = n < Role::ALL.len();
        let points = failpoints_of(role);
        let common: Vec<_> = points
            .iter()
            .filter(|point| !first || COMMON.contains(point))
            .collect();
        let point = common.choose(random).map_or(points[0], |point| **point);
        let turn = if first { 1 } else { random.random_range(1..=4) };
        let late = between(random, 1000, 4000);
        let stall = (!first && random.random_bool(0.5)).then_some(late);
        all.push(Fault::Crash {
            role,
            point,
            turn,
            stall,
        });
    }
    all
}

fn failpoints_of(role: Role) -> &'static [&'static str] {
    match role {
        Role::Order => order::FAILPOINTS,
        Role::Inventory => inventory::FAILPOINTS,
        Role::Payment => payment::FAILPOINTS,
    }
}

/// `count` faults of each of these kinds.
fn locks_and_waits(random: &mut StdRng, count: u32) -> Vec<Fault> {
    let mut all = Vec::new();
    for n in 0..count {
        let product_id = name(random.random_range(0..PRODUCTS));
        all.push(Fault::LockProduct {
            product_id,
            lasting: between(random, 300, 2500),
        });
        // The first locks the table, which works also when there is no order yet.
        let table = n == 0 || random.random_bool(0.5);
        let lock = if table {
            OrdersLock::Table
        } else {
            OrdersLock::NewestRows
        };
        all.push(Fault::LockOrders {
            lock,
            lasting: between(random, 300, 2500),
        });
        all.push(Fault::StandbyWait(between(random, 500, 4000)));
    }
    all
}

/// Each kind of rule twice: at the order service, and at payment, whose answers an order waits for.
const GREMLIN_LEAST: u32 = 12;

/// As many of the gremlin's rules, each kind in turn.
fn rules(random: &mut StdRng, count: u32) -> Vec<Fault> {
    let kinds = (0..count as usize).map(|n| (n, spec::Kind::ALL[n % spec::Kind::ALL.len()]));
    kinds
        .map(|(n, kind)| {
            let round = n / spec::Kind::ALL.len();
            let role = [Role::Order, Role::Payment, Role::Inventory][round % 3];
            // The first of each kind hits the requests of the customers, so that it surely fires.
            // Only the order service calls others.
            let outbound = round > 0 && role == Role::Order && random.random_bool(0.5);
            Fault::Gremlin {
                role,
                kind,
                direction: if outbound {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_another_seed_otherwise() {
        assert_eq!(Plan::new(7, 500, 20, 2), Plan::new(7, 500, 20, 2));
        assert_ne!(Plan::new(7, 500, 20, 2), Plan::new(8, 500, 20, 2));
    }

    fn kinds(plan: &Plan) -> Vec<Kind> {
        plan.faults.iter().map(|(_, fault)| fault.kind()).collect()
    }

    fn distinct(kinds: &[Kind]) -> Vec<Kind> {
        kinds
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    #[test]
    fn every_kind_of_fault_comes_and_as_many_kills_as_asked_for() {
        let plan = Plan::new(1, 300, 12, 2);
        let kinds = kinds(&plan);
        let kills = kinds
            .iter()
            .filter(|kind| matches!(kind, Kind::Kill(_) | Kind::Crash(_)))
            .count();
        assert_eq!(kills, 12);
        assert_eq!(distinct(&kinds), Kind::all());
        assert!(plan.faults.is_sorted_by_key(|(position, _)| *position));
    }

    #[test]
    fn one_fault_of_each_kind_comes_before_any_kind_comes_again() {
        for (seed, kills, database_restarts) in
            [(1, 30, 2), (2, MIN_KILLS, 5), (3, 1, 0), (4, 0, 3)]
        {
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
    fn the_least_numbers_plan_every_kind_and_smaller_ones_do_not() {
        let planned = |kills, restarts| distinct(&kinds(&Plan::new(5, 300, kills, restarts)));
        assert_eq!(planned(MIN_KILLS, MIN_DATABASE_RESTARTS), Kind::all());
        assert_ne!(planned(MIN_KILLS - 1, MIN_DATABASE_RESTARTS), Kind::all());
        assert_ne!(planned(MIN_KILLS, MIN_DATABASE_RESTARTS - 1), Kind::all());
    }

    #[test]
    fn any_kill_brings_locks_waits_and_ended_sessions_of_every_role() {
        let count =
            |kinds: &[Kind], kind: Kind| kinds.iter().filter(|other| **other == kind).count();
        for (kills, expected) in [(0, 0), (1, 1), (3, 3), (40, 10)] {
            let kinds = kinds(&Plan::new(6, 300, kills, 0));
            for kind in [Kind::LockProduct, Kind::LockOrders, Kind::StandbyWait] {
                assert_eq!(count(&kinds, kind), expected, "{kind} of {kills} kills");
            }
            for role in Role::ALL {
                let ended = kinds.contains(&Kind::EndSessions(role));
                assert_eq!(ended, kills > 0, "{role:?} of {kills} kills");
            }
        }
    }

    #[test]
    fn the_first_lock_of_orders_needs_no_row_and_both_locks_are_drawn() {
        let plan = Plan::new(7, 1000, 100, 0);
        let locks: Vec<_> = plan
            .faults
            .iter()
            .filter_map(|(_, fault)| match fault {
                Fault::LockOrders { lock, .. } => Some(*lock),
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
    fn only_customers_with_a_key_replay() {
        let plan = Plan::new(8, 500, 0, 0);
        assert!(plan.requests.iter().any(|request| request.replays));
        assert!(
            plan.requests
                .iter()
                .all(|request| request.key.is_some() || !request.replays)
        );
        assert!(
            plan.requests
                .iter()
                .any(|request| request.key.is_some() && !request.replays)
        );
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
        let scarce = plan
            .products
            .iter()
            .filter(|(name, stock)| *stock < demand(name))
            .count();
        assert_eq!(scarce, PRODUCTS / 2);
    }
}
