//! The invariants in SQL. They look at the tables of all services, wherever these are (see
//! `elsewhere`).
//!
//! An order is *settled* once it is `CONFIRMED`, or `FAILED` and owes nothing. Before that its
//! reservation and its payment may be ahead of it, so a rule about what an order must have speaks
//! of settled orders alone. A row that this release cannot judge is a violation of
//! `states-are-known`: a rule about known states would pass over it in silence.
//!
//! No statement here may fail on the values of a row, also where the schema's constraints were
//! dropped: a sum is made of bigints, and a comparison with NULL counts as a violation.

pub struct Rule {
    pub name: &'static str,
    pub meaning: &'static str,
    /// Selects the population, as `id`.
    population: &'static str,
    /// Selects those that violate the rule, as `id`; `{bound}` is the recovery bound in seconds.
    violations: &'static str,
}

impl Rule {
    /// Counts the population and the violations, and selects examples of these.
    pub fn statement(&self, bound_seconds: u64, examples: usize) -> String {
        let Self {
            population,
            violations,
            ..
        } = self;
        format!(
            "WITH violations AS ({})
             SELECT (SELECT count(*) FROM ({population}) AS population) AS checked,
                    (SELECT count(*) FROM violations) AS violations,
                    ARRAY(SELECT COALESCE(id::text, 'NULL') FROM violations ORDER BY 1 LIMIT {examples}) AS examples",
            violations.replace("{bound}", &bound_seconds.to_string()),
        )
    }
}

/// The one rule whose violations a payment that is younger than the look at the orders can seem to
/// be (see `elsewhere`).
pub const PAYMENT_HAS_ORDER: &str = "payment-has-order";

pub const RULES: &[Rule] = &[
    Rule {
        name: "stock-conserved",
        meaning: "stock and reserved are not negative and add up to what was stocked",
        population: "SELECT product_id AS id FROM inventory",
        violations: "SELECT product_id AS id FROM inventory
                     WHERE (stock >= 0 AND reserved >= 0 AND stock::bigint + reserved = stocked) IS NOT TRUE",
    },
    Rule {
        name: "reserved-is-held",
        meaning: "reserved is the sum of the held reservations",
        population: "SELECT product_id AS id FROM inventory",
        violations: "SELECT COALESCE(i.product_id, r.product_id) AS id FROM inventory i
                     FULL JOIN (SELECT product_id, sum(quantity) AS held FROM reservations
                                WHERE state = 'HELD' GROUP BY product_id) r USING (product_id)
                     WHERE COALESCE(i.reserved, 0) <> COALESCE(r.held, 0)",
    },
    Rule {
        name: "product-has-inventory",
        meaning: "every product that was reserved, or was found to be out of stock, has a row of inventory",
        population: "SELECT product_id AS id FROM reservations WHERE product_id IS NOT NULL
                     UNION SELECT product_id FROM orders
                     WHERE status = 'FAILED' AND failure_reason = 'insufficient-stock'",
        violations: "SELECT product_id AS id FROM (
                         SELECT product_id FROM reservations WHERE product_id IS NOT NULL
                         UNION SELECT product_id FROM orders
                         WHERE status = 'FAILED' AND failure_reason = 'insufficient-stock') AS named
                     WHERE NOT EXISTS (SELECT FROM inventory i WHERE i.product_id = named.product_id)",
    },
    Rule {
        name: "one-reservation-per-order",
        meaning: "no order has two reservations",
        population: "SELECT DISTINCT order_id AS id FROM reservations",
        violations: "SELECT order_id AS id FROM reservations GROUP BY order_id HAVING count(*) > 1",
    },
    Rule {
        name: "confirmed-is-held-and-paid",
        meaning: "a confirmed order has one held reservation of its product and quantity, and one successful payment",
        population: "SELECT id FROM orders WHERE status = 'CONFIRMED'",
        violations: "SELECT o.id FROM orders o
                     LEFT JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
                       AND r.product_id = o.product_id AND r.quantity = o.quantity
                     LEFT JOIN (SELECT order_id, count(*) AS times FROM payments WHERE status = 'SUCCESS'
                                GROUP BY order_id) p ON p.order_id = o.id
                     WHERE o.status = 'CONFIRMED' AND (r.order_id IS NULL OR p.times IS DISTINCT FROM 1)",
    },
    Rule {
        name: "held-and-paid-is-confirmed",
        meaning: "a settled order that is held and paid for is confirmed",
        population: "SELECT r.order_id AS id FROM reservations r JOIN payments p USING (order_id)
                     WHERE r.state = 'HELD' AND p.status = 'SUCCESS'",
        violations: "SELECT o.id FROM orders o JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
                     JOIN payments p ON p.order_id = o.id AND p.status = 'SUCCESS'
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due",
    },
    Rule {
        name: "failed-keeps-nothing",
        meaning: "a settled failed order holds no stock and no money, and no charge of it is open",
        population: "SELECT id FROM orders WHERE status = 'FAILED' AND release_due IS NULL AND NOT void_due",
        violations: "SELECT o.id FROM orders o
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due AND (
                       EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id AND r.state = 'HELD')
                       OR EXISTS (SELECT FROM payments p
                                  WHERE p.order_id = o.id AND p.status IN ('SUCCESS', 'PENDING')))",
    },
    // Each failure owes a release, and a release leaves a row: the tombstone that a late reserve finds.
    Rule {
        name: "failed-has-reservation",
        meaning: "a settled failed order has the reservation that its release marked or left behind",
        population: "SELECT id FROM orders WHERE status = 'FAILED' AND release_due IS NULL AND NOT void_due",
        violations: "SELECT o.id FROM orders o
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due
                       AND NOT EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id)",
    },
    // Payment stored what it declined, and an expired order owes a void, which leaves a row as a release does.
    Rule {
        name: "failed-has-payment",
        meaning: "a settled order that was declined, or that expired, has the payment that says so",
        population: "SELECT id FROM orders WHERE status = 'FAILED' AND release_due IS NULL AND NOT void_due
                       AND failure_reason IN ('payment-declined', 'expired')",
        violations: "SELECT o.id FROM orders o
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due
                       AND o.failure_reason IN ('payment-declined', 'expired')
                       AND NOT EXISTS (SELECT FROM payments p WHERE p.order_id = o.id)",
    },
    // An order is stored before anything is reserved or charged for it.
    Rule {
        name: PAYMENT_HAS_ORDER,
        meaning: "every successful payment belongs to an order that exists",
        population: "SELECT order_id AS id FROM payments WHERE status = 'SUCCESS'",
        violations: "SELECT order_id AS id FROM payments p WHERE status = 'SUCCESS'
                     AND NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)",
    },
    Rule {
        name: "paid-what-was-ordered",
        meaning: "a successful payment has the amount of its order",
        population: "SELECT order_id AS id FROM payments WHERE status = 'SUCCESS'",
        violations: "SELECT o.id FROM payments p JOIN orders o ON o.id = p.order_id
                     WHERE p.status = 'SUCCESS' AND p.amount IS DISTINCT FROM o.amount",
    },
    // The statement that stores an order, or changes it, writes the event too.
    Rule {
        name: "event-has-order",
        meaning: "every order that something happened to exists",
        population: "SELECT DISTINCT order_id AS id FROM order_events",
        violations: "SELECT DISTINCT order_id AS id FROM order_events e
                     WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = e.order_id)",
    },
    Rule {
        name: "one-payment-per-order",
        meaning: "no order has two payments",
        population: "SELECT DISTINCT order_id AS id FROM payments",
        violations: "SELECT order_id AS id FROM payments GROUP BY order_id HAVING count(*) > 1",
    },
    Rule {
        name: "one-order-per-key",
        meaning: "no idempotency key has two orders",
        population: "SELECT DISTINCT idempotency_key AS id FROM orders WHERE idempotency_key IS NOT NULL",
        violations: "SELECT idempotency_key AS id FROM orders WHERE idempotency_key IS NOT NULL
                     GROUP BY idempotency_key HAVING count(*) > 1",
    },
    Rule {
        name: "finished-in-time",
        meaning: "no order is unfinished for longer than the recovery bound",
        population: "SELECT id FROM orders WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')",
        violations: "SELECT id FROM orders WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')
                     AND created_at < now() - {bound} * interval '1 second'",
    },
    Rule {
        name: "obligations-met-in-time",
        meaning: "no order has owed a release or a refund for longer than the recovery bound",
        population: "SELECT id FROM orders WHERE release_due IS NOT NULL OR void_due",
        violations: "SELECT id FROM orders WHERE (release_due IS NOT NULL OR void_due)
                     AND COALESCE(owed_since, updated_at) < now() - {bound} * interval '1 second'",
    },
    // The lists are not made from the program's enums: a state that is added there is not judged here until a rule of this
    // table names it.
    Rule {
        name: "states-are-known",
        meaning: "every row has a state that this release can judge; a newer one may have written another",
        population: "SELECT id FROM orders UNION ALL SELECT order_id FROM reservations
                     UNION ALL SELECT order_id FROM payments",
        violations: "SELECT format('order %s is %s', id, COALESCE(status, 'NULL')) AS id FROM orders
                     WHERE (status IN ('PENDING', 'CONFIRMED', 'FAILED', 'PENDING_INVENTORY', 'PENDING_PAYMENT'))
                       IS NOT TRUE
                     UNION ALL
                     SELECT format('reservation of order %s is %s', order_id, COALESCE(state, 'NULL'))
                     FROM reservations WHERE (state IN ('HELD', 'RELEASED')) IS NOT TRUE
                     UNION ALL
                     SELECT format('payment of order %s is %s', order_id, COALESCE(status, 'NULL'))
                     FROM payments
                     WHERE (status IN ('PENDING', 'SUCCESS', 'FAILED', 'REFUNDED', 'VOIDED')) IS NOT TRUE",
    },
];
