//! The chapters of the story, in order.

use super::chapter::StoryService::{InventoryService, OrderService, PaymentService};
use super::chapter::{Action, Captions, Chapter, LightStatus, StoryRule, StoryService};
use crate::platform::fault_injection::spec::{Direction, GremlinKind};

pub const CHAPTERS: [Chapter; 12] = [
    HEALTH,
    EVERYTHING_WORKS,
    SLOW_INVENTORY,
    INVENTORY_IS_BACK,
    LATENCY,
    ERROR,
    DROP,
    VANISH,
    HANG,
    CRASH,
    CIRCUIT_BREAKER,
    INVARIANTS,
];

const RESERVE: &str = "/inventory/reserve";
const CHARGE: &str = "/payments";
/// Less than the 2 s that the order service waits for one call. A caption names it as 1.9 s.
const ONE_CALL_MS: u32 = 1900;
/// A request ends within the time of two calls and a margin.
const TWO_CALLS_MS: u32 = 4300;
/// One payment in ten is declined, so that this many declined in a row are one in a million.
const MAX_DECLINED: usize = 6;
/// Enough quick orders to outweigh the slow ones of the story in the service level.
const MAX_LIGHT_ORDERS: usize = 20;
/// Enough calls that time out to open a circuit breaker. The chapter's texts name the number.
const BREAKER_ORDERS: usize = 16;
/// Of this many orders in a row, at least one is not a probe of an open breaker.
const MAX_PROBES: usize = 4;

/// A rule that fires for one request of a route.
const fn once(kind: GremlinKind, route: &'static str) -> StoryRule {
    StoryRule {
        kind,
        delay_ms: None,
        status: None,
        direction: Direction::Inbound,
        dependency: None,
        route: Some(route),
        max_fires: Some(1),
        ttl_seconds: None,
    }
}

const fn add_rule(service: StoryService, rule: StoryRule) -> Action {
    Action::AddRule { service, rule }
}

const IS_CONFIRMED: Action = Action::PlaceUntilConfirmed {
    check: "the customer",
    max_orders: MAX_DECLINED,
};
const IS_TAKEN: Action = Action::PlaceOrders {
    check: "the customer",
    orders: 1,
    status: 202,
    at_least_ms: None,
    at_most_ms: None,
    message: None,
};
const ENDS: Action = Action::ExpectEnded { check: "the order" };

/// One order while a rule hits one call.
const fn one_order_under(service: StoryService, rule: StoryRule) -> [Action; 7] {
    [
        Action::WaitUntilHealthy,
        add_rule(service, rule),
        IS_TAKEN,
        Action::WaitUntilHealthy,
        Action::ExpectFired { times: 1 },
        Action::EndFaults,
        ENDS,
    ]
}

const HEALTH: Chapter = Chapter {
    captions: Captions {
        id: "health",
        title: "Health",
        injected: "Nothing is injected.",
        customer_sees: "The customer has not ordered yet.",
        platform_does: "Each service checks its database, and the order service its two \
                        dependencies.",
        proved: "All three services are healthy.",
    },
    actions: &[Action::ExpectHealthy],
};

const EVERYTHING_WORKS: Chapter = Chapter {
    captions: Captions {
        id: "everything-works",
        title: "An order while everything works",
        injected: "Nothing is injected.",
        customer_sees: "The customer gets a 201: the order is confirmed.",
        platform_does: "The order service reserves the stock, charges the payment and confirms.",
        proved: "One request confirms an order.",
    },
    actions: &[IS_CONFIRMED],
};

const SLOW_INVENTORY: Chapter = Chapter {
    captions: Captions {
        id: "slow-inventory",
        title: "The gremlin delays every response of inventory by 3 s",
        injected: "Each response of inventory comes 3 s late.",
        customer_sees: "The customer gets a 202 after about 2 s: the order is being processed.",
        platform_does: "The order service stops waiting after 2 s, and keeps the order as pending.",
        proved: "A slow service delays an answer by a bounded time, and loses no order.",
    },
    actions: &[
        Action::SetLatency {
            service: InventoryService,
            delay_ms: 3000,
        },
        Action::PlaceOrders {
            check: "the customer",
            orders: 1,
            status: 202,
            at_least_ms: Some(ONE_CALL_MS),
            at_most_ms: Some(TWO_CALLS_MS),
            message: Some("Order is being processed"),
        },
        Action::ExpectLight {
            status: LightStatus::Red,
            max_orders: MAX_LIGHT_ORDERS,
        },
    ],
};

const INVENTORY_IS_BACK: Chapter = Chapter {
    captions: Captions {
        id: "inventory-is-back",
        title: "The gremlin's delay is off again",
        injected: "The delay ends.",
        customer_sees: "The customer finds the pending order finished, without another request.",
        platform_does: "Recovery finishes the order at a new epoch, so that it ends once.",
        proved: "The pending order ended by itself, and new orders are confirmed at once.",
    },
    actions: &[
        Action::EndFaults,
        Action::ExpectEnded {
            check: "the orders",
        },
        IS_CONFIRMED,
        Action::ExpectLight {
            status: LightStatus::Green,
            max_orders: MAX_LIGHT_ORDERS,
        },
    ],
};

const LATENCY: Chapter = Chapter {
    captions: Captions {
        id: "latency",
        title: "latency: inventory takes 3 s for one reservation",
        injected: "Inventory takes 3 s for one reservation.",
        customer_sees: "The customer gets a 202.",
        platform_does: "The order service gives up the call after 2 s, and recovery repeats it.",
        proved: "A reservation that arrives late does not prevent the order's end.",
    },
    actions: &one_order_under(
        InventoryService,
        StoryRule {
            delay_ms: Some(3000),
            ..once(GremlinKind::Latency, RESERVE)
        },
    ),
};

const ERROR: Chapter = Chapter {
    captions: Captions {
        id: "error",
        title: "error: payment answers 500",
        injected: "Payment answers one charge with 500.",
        customer_sees: "The customer gets a 202.",
        platform_does: "The stock is given back; recovery asks payment before it reserves and \
                        charges.",
        proved: "An order outlives an error of payment.",
    },
    actions: &one_order_under(
        PaymentService,
        StoryRule {
            status: Some(500),
            ..once(GremlinKind::Error, CHARGE)
        },
    ),
};

const DROP: Chapter = Chapter {
    captions: Captions {
        id: "drop",
        title: "drop: payment closes the connection before the charge",
        injected: "Payment closes the connection of one charge, before it charges.",
        customer_sees: "The customer gets a 202.",
        platform_does: "The stock is given back; recovery asks payment before it reserves and \
                        charges.",
        proved: "A lost request does not lose the order.",
    },
    actions: &one_order_under(PaymentService, once(GremlinKind::Drop, CHARGE)),
};

const VANISH: Chapter = Chapter {
    captions: Captions {
        id: "vanish",
        title: "vanish: payment charges, but its answer is lost",
        injected: "Payment charges once, and closes the connection without an answer.",
        customer_sees: "The customer gets a 202.",
        platform_does: "The stock is given back; recovery asks payment before it reserves and \
                        charges.",
        proved: "A lost answer does not lose the order.",
    },
    actions: &one_order_under(PaymentService, once(GremlinKind::Vanish, CHARGE)),
};

const HANG: Chapter = Chapter {
    captions: Captions {
        id: "hang",
        title: "hang: inventory never answers",
        injected: "Inventory never answers one reservation.",
        customer_sees: "The customer gets a 202 while inventory still does not answer.",
        platform_does: "The order service gives up the call after 2 s, and recovery repeats it.",
        proved: "A service that hangs does not make the order hang.",
    },
    actions: &one_order_under(InventoryService, once(GremlinKind::Hang, RESERVE)),
};

const CRASH: Chapter = Chapter {
    captions: Captions {
        id: "crash",
        title: "crash: inventory reserves and commits, and its process dies",
        injected: "Inventory reserves once and commits, and then its process dies.",
        customer_sees: "The customer gets a 202.",
        platform_does: "Inventory is started again, and recovery repeats the reservation.",
        proved: "A process that dies after its commit does not lose the order.",
    },
    actions: &[
        Action::WaitUntilHealthy,
        // The rule ends together with its process, so its count cannot be read afterwards.
        add_rule(InventoryService, once(GremlinKind::Crash, RESERVE)),
        IS_TAKEN,
        Action::WaitUntilHealthy,
        Action::EndFaults,
        ENDS,
    ],
};

const CIRCUIT_BREAKER: Chapter = Chapter {
    captions: Captions {
        id: "circuit-breaker",
        title: "16 orders while the order service's calls to payment hang",
        injected: "Each call from the order service to payment hangs.",
        customer_sees: "16 customers get a 202; a later one gets it within 1.9 s, without a call \
                        that hangs.",
        platform_does: "The circuit breaker opens, so that later orders do not call payment.",
        proved: "One broken service does not make each customer wait, and every order ended.",
    },
    actions: &[
        Action::WaitUntilHealthy,
        add_rule(
            OrderService,
            StoryRule {
                kind: GremlinKind::Hang,
                delay_ms: None,
                status: None,
                direction: Direction::Outbound,
                dependency: Some(PaymentService),
                route: None,
                max_fires: None,
                // Longer than the chapter takes. A page that is closed cannot end the rule.
                ttl_seconds: Some(90),
            },
        ),
        Action::PlaceOrders {
            check: "the customers",
            orders: BREAKER_ORDERS,
            status: 202,
            at_least_ms: None,
            at_most_ms: None,
            message: None,
        },
        Action::PlaceUntilFast {
            check: "a later customer",
            status: 202,
            at_most_ms: ONE_CALL_MS,
            max_orders: MAX_PROBES,
        },
        Action::EndFaults,
        Action::ExpectEnded {
            check: "their orders",
        },
    ],
};

const INVARIANTS: Chapter = Chapter {
    captions: Captions {
        id: "invariants",
        title: "The invariants",
        injected: "All faults have ended.",
        customer_sees: "Each customer's order has ended: it is confirmed, or it failed for a \
                        reason.",
        platform_does: "The audit compares orders, stock and payments, row by row.",
        proved: "No invariant is violated by what the story did.",
    },
    actions: &[Action::ExpectAllFinished, Action::ExpectInvariants],
};

#[cfg(test)]
mod tests;
