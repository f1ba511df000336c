//! What must hold, in SQL. The rules look at all services' tables, wherever these are (see `elsewhere`).

pub struct Rule {
    pub name: &'static str,
    pub meaning: &'static str,
    /// Selects the population, as `id`.
    pub population: &'static str,
    /// Selects those that violate the rule, as `id`; `{bound}` is the recovery bound in seconds.
    pub violations: &'static str,
}

pub const RULES: &[Rule] = &[
    Rule {
        name: "stock-conserved",
        meaning: "stock and reserved are not negative and add up to what was stocked",
        population: "SELECT product_id AS id FROM inventory",
        violations: "SELECT product_id AS id FROM inventory
                     WHERE stock < 0 OR reserved < 0 OR stock + reserved <> stocked",
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
        name: "confirmed-is-held-and-paid",
        meaning: "a confirmed order has one held reservation of its product and quantity, and one successful payment",
        population: "SELECT id FROM orders WHERE status = 'CONFIRMED'",
        violations: "SELECT o.id::text FROM orders o
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
        violations:
            "SELECT o.id::text FROM orders o JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
                     JOIN payments p ON p.order_id = o.id AND p.status = 'SUCCESS'
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due",
    },
    Rule {
        name: "failed-keeps-nothing",
        meaning: "a settled failed order holds no stock and no money",
        population: "SELECT id FROM orders WHERE status = 'FAILED' AND release_due IS NULL AND NOT void_due",
        violations: "SELECT o.id::text FROM orders o
                     WHERE o.status = 'FAILED' AND o.release_due IS NULL AND NOT o.void_due AND (
                       EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id AND r.state = 'HELD')
                       OR EXISTS (SELECT FROM payments p WHERE p.order_id = o.id AND p.status = 'SUCCESS'))",
    },
    Rule {
        name: "one-payment-per-order",
        meaning: "no order has two payments",
        population: "SELECT DISTINCT order_id AS id FROM payments",
        violations: "SELECT order_id::text AS id FROM payments GROUP BY order_id HAVING count(*) > 1",
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
        violations:
            "SELECT id::text FROM orders WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT')
                     AND created_at < now() - {bound} * interval '1 second'",
    },
];
