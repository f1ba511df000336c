//! The invariants in SQL.
//!
//! An order is *settled* once it is `CONFIRMED`, or `FAILED` and owes nothing. Before that its
//! reservation and its payment may be ahead of it, so an invariant about the rows that an order
//! must have looks at settled orders only. A row in a state that this version does not know
//! violates `states-are-known`; the other invariants would not notice it.
//!
//! No statement may fail because of a row's values, even if the constraints of the schema were
//! dropped. So sums are computed in bigint, and a comparison with NULL counts as a violation.

/// An invariant, and the queries that check it.
///
/// `{settled_failure}` and `{unfinished}` stand for conditions on an order `o`, and `{bound}` for
/// the recovery bound in seconds.
pub struct InvariantQuery {
    pub name: &'static str,
    pub meaning: &'static str,
    /// Selects the rows to check, as `id`.
    checked: &'static str,
    /// Selects those that violate the invariant, as `id`.
    violations: &'static str,
}

const SETTLED_FAILURE: &str =
    "(o.status = 'FAILED' AND o.release_owed_epoch IS NULL AND NOT o.refund_owed)";
const UNFINISHED: &str = "(o.status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT'))";

impl InvariantQuery {
    /// Counts the checked rows and the violations, and selects examples of the violations.
    pub fn statement(&self, bound_seconds: u64, max_examples: usize) -> String {
        let bound = bound_seconds.to_string();
        let fill = |query: &str| {
            query
                .replace("{settled_failure}", SETTLED_FAILURE)
                .replace("{unfinished}", UNFINISHED)
                .replace("{bound}", &bound)
        };
        let (checked, violations) = (fill(self.checked), fill(self.violations));
        format!(
            "WITH violations AS ({violations})
             SELECT (SELECT count(*) FROM ({checked}) AS checked) AS checked,
                    (SELECT count(*) FROM violations) AS violations,
                    ARRAY(SELECT COALESCE(id::text, 'NULL') FROM violations
                          ORDER BY 1 LIMIT {max_examples}) AS examples"
        )
    }
}

/// The invariant that a payment which is younger than the snapshot of the orders seems to violate.
pub const PAYMENT_HAS_ORDER: &str = "payment-has-order";

pub const INVARIANTS: &[InvariantQuery] = &[
    InvariantQuery {
        name: "stock-conserved",
        meaning: "stock, reserved and shipped are not negative and add up to what was stocked",
        checked: "SELECT product_id AS id FROM inventory",
        violations: "
            SELECT product_id AS id FROM inventory
            WHERE (stock >= 0 AND reserved >= 0 AND shipped >= 0
                   AND stock::bigint + reserved + shipped = stocked) IS NOT TRUE",
    },
    InvariantQuery {
        name: "stocked-is-delivered",
        meaning: "stocked is the sum of the product's deliveries, and each delivery has a product",
        checked: "SELECT product_id AS id FROM inventory UNION SELECT product_id FROM deliveries",
        violations: "
            SELECT COALESCE(i.product_id, d.product_id) AS id FROM inventory i
            FULL JOIN (SELECT product_id, sum(quantity) AS delivered FROM deliveries
                       GROUP BY product_id) d USING (product_id)
            WHERE (i.stocked = COALESCE(d.delivered, 0)) IS NOT TRUE",
    },
    InvariantQuery {
        name: "reserved-is-held",
        meaning: "reserved is the sum of the held reservations",
        checked: "SELECT product_id AS id FROM inventory",
        violations: "
            SELECT COALESCE(i.product_id, r.product_id) AS id FROM inventory i
            FULL JOIN (SELECT product_id, sum(quantity) AS held FROM reservations
                       WHERE state = 'HELD' GROUP BY product_id) r USING (product_id)
            WHERE COALESCE(i.reserved, 0) <> COALESCE(r.held, 0)",
    },
    InvariantQuery {
        name: "shipped-matches-ledger",
        meaning: "shipped is the sum of the shipped reservations",
        checked: "SELECT product_id AS id FROM inventory",
        violations: "
            SELECT COALESCE(i.product_id, r.product_id) AS id FROM inventory i
            FULL JOIN (SELECT product_id, sum(quantity) AS total FROM reservations
                       WHERE state = 'SHIPPED' GROUP BY product_id) r USING (product_id)
            WHERE COALESCE(i.shipped, 0) <> COALESCE(r.total, 0)",
    },
    InvariantQuery {
        name: "product-has-inventory",
        meaning: "every product that was reserved, or was out of stock for an order, has a row of \
                  inventory",
        checked: "
            SELECT product_id AS id FROM reservations WHERE product_id IS NOT NULL
            UNION SELECT product_id FROM orders
            WHERE status = 'FAILED' AND failure_reason = 'insufficient-stock'",
        violations: "
            SELECT product_id AS id FROM (
                SELECT product_id FROM reservations WHERE product_id IS NOT NULL
                UNION SELECT product_id FROM orders
                WHERE status = 'FAILED' AND failure_reason = 'insufficient-stock') AS named
            WHERE NOT EXISTS (SELECT FROM inventory i WHERE i.product_id = named.product_id)",
    },
    InvariantQuery {
        name: "one-reservation-per-order",
        meaning: "no order has two reservations",
        checked: "SELECT DISTINCT order_id AS id FROM reservations",
        violations: "
            SELECT order_id AS id FROM reservations GROUP BY order_id HAVING count(*) > 1",
    },
    InvariantQuery {
        name: "confirmed-is-held-and-paid",
        meaning: "a confirmed order has one held reservation of its product and quantity, and one \
                  successful payment",
        checked: "SELECT id FROM orders WHERE status = 'CONFIRMED'",
        violations: "
            SELECT o.id FROM orders o
            LEFT JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
                AND r.product_id = o.product_id AND r.quantity = o.quantity
            LEFT JOIN (SELECT order_id, count(*) AS times FROM payments
                       WHERE status = 'SUCCESS' GROUP BY order_id) p ON p.order_id = o.id
            WHERE o.status = 'CONFIRMED'
                AND (r.order_id IS NULL OR p.times IS DISTINCT FROM 1)",
    },
    InvariantQuery {
        name: "held-and-paid-is-confirmed",
        meaning: "a settled order that is held and paid for is confirmed",
        checked: "
            SELECT r.order_id AS id FROM reservations r JOIN payments p USING (order_id)
            WHERE r.state = 'HELD' AND p.status = 'SUCCESS'",
        violations: "
            SELECT o.id FROM orders o
            JOIN reservations r ON r.order_id = o.id AND r.state = 'HELD'
            JOIN payments p ON p.order_id = o.id AND p.status = 'SUCCESS'
            WHERE {settled_failure}",
    },
    InvariantQuery {
        name: "failed-keeps-nothing",
        meaning: "a settled failed order holds no stock and no money, and has no open charge",
        checked: "SELECT id FROM orders o WHERE {settled_failure}",
        violations: "
            SELECT o.id FROM orders o
            WHERE {settled_failure} AND (
                EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id AND r.state = 'HELD')
                OR EXISTS (SELECT FROM payments p
                           WHERE p.order_id = o.id AND p.status IN ('SUCCESS', 'PENDING')))",
    },
    // Each failure owes a release, and a release leaves a row: the tombstone for a late reserve.
    InvariantQuery {
        name: "failed-has-reservation",
        meaning: "a settled failed order has the reservation that its release marked or added",
        checked: "SELECT id FROM orders o WHERE {settled_failure}",
        violations: "
            SELECT o.id FROM orders o
            WHERE {settled_failure}
                AND NOT EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id)",
    },
    // Payment stores a declined charge. An expired order owes a void, which leaves a row as a
    // release does.
    InvariantQuery {
        name: "failed-has-payment",
        meaning: "a settled order that was declined, or that expired, has the payment that says so",
        checked: "
            SELECT id FROM orders o
            WHERE {settled_failure} AND failure_reason IN ('payment-declined', 'expired')",
        violations: "
            SELECT o.id FROM orders o
            WHERE {settled_failure} AND o.failure_reason IN ('payment-declined', 'expired')
                AND NOT EXISTS (SELECT FROM payments p WHERE p.order_id = o.id)",
    },
    // An order is stored before anything is reserved or charged for it.
    InvariantQuery {
        name: PAYMENT_HAS_ORDER,
        meaning: "every successful payment belongs to an order that exists",
        checked: "SELECT order_id AS id FROM payments WHERE status = 'SUCCESS'",
        violations: "
            SELECT order_id AS id FROM payments p WHERE status = 'SUCCESS'
                AND NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)",
    },
    InvariantQuery {
        name: "paid-what-was-ordered",
        meaning: "a successful payment has the amount of its order",
        checked: "SELECT order_id AS id FROM payments WHERE status = 'SUCCESS'",
        violations: "
            SELECT o.id FROM payments p JOIN orders o ON o.id = p.order_id
            WHERE p.status = 'SUCCESS' AND p.amount IS DISTINCT FROM o.amount",
    },
    // The statement that stores an order, or changes it, writes the event too.
    InvariantQuery {
        name: "event-has-order",
        meaning: "every event belongs to an order that exists",
        checked: "SELECT DISTINCT order_id AS id FROM order_events",
        violations: "
            SELECT DISTINCT order_id AS id FROM order_events e
            WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = e.order_id)",
    },
    InvariantQuery {
        name: "one-payment-per-order",
        meaning: "no order has two payments",
        checked: "SELECT DISTINCT order_id AS id FROM payments",
        violations: "SELECT order_id AS id FROM payments GROUP BY order_id HAVING count(*) > 1",
    },
    InvariantQuery {
        name: "one-order-per-key",
        meaning: "no idempotency key has two orders",
        checked: "
            SELECT DISTINCT idempotency_key AS id FROM orders WHERE idempotency_key IS NOT NULL",
        violations: "
            SELECT idempotency_key AS id FROM orders WHERE idempotency_key IS NOT NULL
            GROUP BY idempotency_key HAVING count(*) > 1",
    },
    InvariantQuery {
        name: "finished-in-time",
        meaning: "no order is unfinished for longer than the recovery bound",
        checked: "SELECT id FROM orders o WHERE {unfinished}",
        violations: "
            SELECT id FROM orders o
            WHERE {unfinished} AND created_at < now() - {bound} * interval '1 second'",
    },
    InvariantQuery {
        name: "obligations-met-in-time",
        meaning: "no order has owed a release or a refund for longer than the recovery bound",
        checked: "SELECT id FROM orders WHERE release_owed_epoch IS NOT NULL OR refund_owed",
        violations: "
            SELECT id FROM orders WHERE (release_owed_epoch IS NOT NULL OR refund_owed)
                AND COALESCE(owed_since, updated_at) < now() - {bound} * interval '1 second'",
    },
    // These lists are deliberately not made from the program's enums: a state that is added there
    // is reported here until the invariants take it into account.
    InvariantQuery {
        name: "states-are-known",
        meaning: "every row has a state that this version knows; a newer version may store others",
        checked: "
            SELECT id FROM orders UNION ALL SELECT order_id FROM reservations
            UNION ALL SELECT order_id FROM payments",
        violations: "
            SELECT format('order %s is %s', id, COALESCE(status, 'NULL')) AS id FROM orders
            WHERE (status IN ('PENDING', 'CONFIRMED', 'FAILED',
                              'PENDING_INVENTORY', 'PENDING_PAYMENT')) IS NOT TRUE
            UNION ALL
            SELECT format('reservation of order %s is %s', order_id, COALESCE(state, 'NULL'))
            FROM reservations WHERE (state IN ('HELD', 'RELEASED', 'SHIPPED')) IS NOT TRUE
            UNION ALL
            SELECT format('payment of order %s is %s', order_id, COALESCE(status, 'NULL'))
            FROM payments
            WHERE (status IN ('PENDING', 'SUCCESS', 'FAILED', 'REFUNDED', 'VOIDED'))
                IS NOT TRUE",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_has_a_placeholder_left() {
        for query in INVARIANTS {
            let statement = query.statement(60, 5);
            assert!(!statement.contains(['{', '}']), "{statement}");
        }
    }
}
