//! The texts of the guided tour: its chapters, in order.

use serde::Serialize;

/// A chapter of the tour. Each text but the title is one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Chapter {
    /// Stable, kebab-case.
    pub id: &'static str,
    pub title: &'static str,
    /// The fault that the gremlin injects.
    pub injected: &'static str,
    pub customer_sees: &'static str,
    pub platform_does: &'static str,
    /// The claim that holds if all checks of the chapter pass.
    pub proved: &'static str,
}

/// Shown before the first chapter, so that a declined payment is not taken for a fault.
pub const DECLINED_PAYMENTS: &str = "The mock payment gateway declines payments on purpose: one \
     in ten, unless PAYMENT_SUCCESS_RATE says otherwise. A 402 is no fault.";

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

pub const HEALTH: Chapter = Chapter {
    id: "health",
    title: "Health",
    injected: "Nothing is injected.",
    customer_sees: "The customer has not ordered yet.",
    platform_does: "Each service checks its database, and the order service its two dependencies.",
    proved: "All three services are healthy.",
};

pub const EVERYTHING_WORKS: Chapter = Chapter {
    id: "everything-works",
    title: "An order while everything works",
    injected: "Nothing is injected.",
    customer_sees: "The customer gets a 201: the order is confirmed.",
    platform_does: "The order service reserves the stock, charges the payment and confirms.",
    proved: "One request confirms an order.",
};

pub const SLOW_INVENTORY: Chapter = Chapter {
    id: "slow-inventory",
    title: "The gremlin delays every response of inventory by 3 s",
    injected: "Each response of inventory comes 3 s late.",
    customer_sees: "The customer gets a 202 after about 2 s: the order is being processed.",
    platform_does: "The order service stops waiting after 2 s, and keeps the order as pending.",
    proved: "A slow service delays an answer by a bounded time, and loses no order.",
};

pub const INVENTORY_IS_BACK: Chapter = Chapter {
    id: "inventory-is-back",
    title: "The gremlin's delay is off again",
    injected: "The delay ends.",
    customer_sees: "The customer finds the pending order finished, without another request.",
    platform_does: "Recovery finishes the order at a new epoch, so that it ends once.",
    proved: "The pending order ended by itself, and new orders are confirmed at once.",
};

pub const LATENCY: Chapter = Chapter {
    id: "latency",
    title: "latency: inventory takes 3 s for one reservation",
    injected: "Inventory takes 3 s for one reservation.",
    customer_sees: "The customer gets a 202.",
    platform_does: "The order service gives up the call after 2 s, and recovery repeats it.",
    proved: "A reservation that arrives late does not prevent the order's end.",
};

pub const ERROR: Chapter = Chapter {
    id: "error",
    title: "error: payment answers 500",
    injected: "Payment answers one charge with 500.",
    customer_sees: "The customer gets a 202.",
    platform_does: "The stock is given back; recovery asks payment before it reserves and charges.",
    proved: "An order outlives an error of payment.",
};

pub const DROP: Chapter = Chapter {
    id: "drop",
    title: "drop: payment closes the connection before the charge",
    injected: "Payment closes the connection of one charge, before it charges.",
    customer_sees: "The customer gets a 202.",
    platform_does: "The stock is given back; recovery asks payment before it reserves and charges.",
    proved: "A lost request does not lose the order.",
};

pub const VANISH: Chapter = Chapter {
    id: "vanish",
    title: "vanish: payment charges, and closes the connection without an answer",
    injected: "Payment charges once, and closes the connection without an answer.",
    customer_sees: "The customer gets a 202.",
    platform_does: "The stock is given back; recovery asks payment before it reserves and charges.",
    proved: "A lost answer does not lose the order.",
};

pub const HANG: Chapter = Chapter {
    id: "hang",
    title: "hang: inventory never answers",
    injected: "Inventory never answers one reservation.",
    customer_sees: "The customer gets a 202 after about 2 s.",
    platform_does: "The order service gives up the call after 2 s, and recovery repeats it.",
    proved: "A service that hangs does not make the order hang.",
};

pub const CRASH: Chapter = Chapter {
    id: "crash",
    title: "crash: inventory reserves and commits, and its process dies",
    injected: "Inventory reserves once and commits, and then its process dies.",
    customer_sees: "The customer gets a 202.",
    platform_does: "Inventory is started again, and recovery repeats the reservation.",
    proved: "A process that dies after its commit does not lose the order.",
};

pub const CIRCUIT_BREAKER: Chapter = Chapter {
    id: "circuit-breaker",
    title: "16 orders at once, while the order service's calls to payment hang",
    injected: "Each call from the order service to payment hangs.",
    customer_sees: "16 customers get a 202 after about 2 s; the next one does not wait.",
    platform_does: "The circuit breaker opens, so that later orders do not call payment.",
    proved: "One broken service does not make each customer wait, and every order ended.",
};

pub const INVARIANTS: Chapter = Chapter {
    id: "invariants",
    title: "The invariants",
    injected: "All faults have ended.",
    customer_sees: "Each customer's order has ended: it is confirmed, or it failed for a reason.",
    platform_does: "The audit compares orders, stock and payments, row by row.",
    proved: "No invariant is violated by what the tour did.",
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_text_of_a_chapter_is_one_sentence_and_its_id_is_unique() {
        let ids: HashSet<_> = CHAPTERS.iter().map(|chapter| chapter.id).collect();
        assert_eq!(ids.len(), CHAPTERS.len());
        for chapter in CHAPTERS {
            for text in [
                chapter.injected,
                chapter.customer_sees,
                chapter.platform_does,
                chapter.proved,
            ] {
                let is_sentence = text.ends_with('.') && !text.trim_end_matches('.').contains(". ");
                assert!(is_sentence, "{}: {text}", chapter.id);
            }
        }
    }

    #[test]
    fn every_title_fits_80_columns() {
        assert!(CHAPTERS.iter().all(|chapter| chapter.title.len() <= 80));
    }
}
