//! Invariants by which an order agrees with its reservation and its payment.

use super::query::InvariantQuery;

/// Each invariant reports orders, by id.
///
/// Where the services have databases of their own, the order is read first. An order is stored in a
/// status only after its reservation and its payment satisfy the invariants of that status.
/// Afterwards they change only once a cancellation or a fulfilment has raised the order's epoch. So
/// a violation is real if the order still has the same epoch after all rows were read
/// (`audit/recheck.rs`). An invariant that is added here must keep to that.
///
/// The rows of an order that leaves are deleted while its epoch stays. An invariant about rows that
/// must exist therefore leaves such orders out, and `recheck` takes an order that has begun to
/// leave for one that has changed.
pub const AGREEMENT: &[InvariantQuery] = &[
    // While the order owes a shipment, its reservation may already be stored as shipped.
    InvariantQuery {
        name: "confirmed-is-held-and-paid",
        meaning: "a confirmed order that is not fulfilled has one successful payment, and one held \
                  reservation of its product and quantity; if it owes a shipment, held or shipped",
        checked: "SELECT id FROM orders WHERE status = 'CONFIRMED' AND fulfilled_at IS NULL",
        violations: "
            SELECT o.id FROM orders o
            LEFT JOIN reservations r ON r.order_id = o.id
                AND (r.state = 'HELD' OR r.state = 'SHIPPED' AND o.shipment_owed)
                AND r.product_id = o.product_id AND r.quantity = o.quantity
            LEFT JOIN (SELECT order_id, count(*) AS times FROM payments
                       WHERE status = 'SUCCESS' GROUP BY order_id) p ON p.order_id = o.id
            WHERE o.status = 'CONFIRMED' AND o.fulfilled_at IS NULL
                AND (r.order_id IS NULL OR p.times IS DISTINCT FROM 1)",
    },
    // The platform refunds failed orders only. A confirmed order that was refunded also violates
    // the invariant above; the meaning of this one names the cause and the remedy.
    InvariantQuery {
        name: "confirmed-is-not-refunded",
        meaning: "no payment of a confirmed order was refunded by hand; if one was, cancel the \
                  order",
        checked: "
            SELECT id FROM orders
            WHERE status = 'CONFIRMED' AND fulfilled_at IS NULL AND NOT shipment_owed",
        violations: "
            SELECT o.id FROM orders o
            WHERE o.status = 'CONFIRMED' AND o.fulfilled_at IS NULL AND NOT o.shipment_owed
                AND EXISTS (SELECT FROM payments p WHERE p.order_id = o.id
                            AND p.status IN ('REFUNDED', 'VOIDED'))",
    },
    InvariantQuery {
        name: "fulfilled-is-shipped-and-paid",
        meaning: "a fulfilled order is confirmed, and has one shipped reservation of its product \
                  and quantity, and one successful payment",
        checked: "SELECT id FROM orders o WHERE fulfilled_at IS NOT NULL AND NOT {leaving}",
        violations: "
            SELECT o.id FROM orders o
            LEFT JOIN reservations r ON r.order_id = o.id AND r.state = 'SHIPPED'
                AND r.product_id = o.product_id AND r.quantity = o.quantity
            LEFT JOIN (SELECT order_id, count(*) AS times FROM payments
                       WHERE status = 'SUCCESS' GROUP BY order_id) p ON p.order_id = o.id
            WHERE o.fulfilled_at IS NOT NULL AND NOT {leaving}
                AND (o.status IS DISTINCT FROM 'CONFIRMED' OR r.order_id IS NULL
                     OR p.times IS DISTINCT FROM 1)",
    },
    // A shipment is recorded before inventory is asked to ship.
    InvariantQuery {
        name: "shipped-is-fulfilled",
        meaning: "every shipped reservation belongs to an order that exists, and that is fulfilled \
                  or owes a shipment",
        checked: "SELECT order_id AS id FROM reservations WHERE state = 'SHIPPED'",
        violations: "
            SELECT r.order_id AS id FROM reservations r
            WHERE r.state = 'SHIPPED'
                AND NOT EXISTS (SELECT FROM orders o WHERE o.id = r.order_id
                                AND (o.fulfilled_at IS NOT NULL OR o.shipment_owed))",
    },
    InvariantQuery {
        name: "held-and-paid-is-confirmed",
        meaning: "a settled order that is paid for, and whose reservation is held or shipped, is \
                  confirmed",
        checked: "
            SELECT r.order_id AS id FROM reservations r JOIN payments p USING (order_id)
            WHERE r.state IN ('HELD', 'SHIPPED') AND p.status = 'SUCCESS'",
        violations: "
            SELECT o.id FROM orders o
            JOIN reservations r ON r.order_id = o.id AND r.state IN ('HELD', 'SHIPPED')
            JOIN payments p ON p.order_id = o.id AND p.status = 'SUCCESS'
            WHERE {settled_failure}",
    },
    InvariantQuery {
        name: "failed-keeps-nothing",
        meaning: "a settled failed order has no stock, held or shipped, no money, and no open \
                  charge",
        checked: "SELECT id FROM orders o WHERE {settled_failure}",
        violations: "
            SELECT o.id FROM orders o
            WHERE {settled_failure} AND (
                EXISTS (SELECT FROM reservations r
                        WHERE r.order_id = o.id AND r.state IN ('HELD', 'SHIPPED'))
                OR EXISTS (SELECT FROM payments p
                           WHERE p.order_id = o.id AND p.status IN ('SUCCESS', 'PENDING')))",
    },
    // Each failure owes a release, and a release leaves a row: the tombstone for a late reserve.
    InvariantQuery {
        name: "failed-has-reservation",
        meaning: "a settled failed order has the reservation that its release marked or added",
        checked: "SELECT id FROM orders o WHERE {settled_failure} AND NOT {leaving}",
        violations: "
            SELECT o.id FROM orders o
            WHERE {settled_failure} AND NOT {leaving}
                AND NOT EXISTS (SELECT FROM reservations r WHERE r.order_id = o.id)",
    },
    // Payment stores a declined charge. An order that expired or was cancelled owes a refund, which
    // leaves a row as a release does.
    InvariantQuery {
        name: "failed-has-payment",
        meaning: "a settled order that was declined or cancelled, or that expired, has the payment \
                  that says so",
        checked: "
            SELECT id FROM orders o
            WHERE {settled_failure} AND NOT {leaving}
                AND failure_reason IN ('payment-declined', 'expired', 'cancelled')",
        violations: "
            SELECT o.id FROM orders o
            WHERE {settled_failure} AND NOT {leaving}
                AND o.failure_reason IN ('payment-declined', 'expired', 'cancelled')
                AND NOT EXISTS (SELECT FROM payments p WHERE p.order_id = o.id)",
    },
    // Inventory and payment refuse to delete a row that contradicts how the order ended. So the
    // order stays until the row is repaired.
    InvariantQuery {
        name: "leaving-is-not-contradicted",
        meaning: "an order that is leaving has no reservation and no payment that contradict how \
                  it ended",
        checked: "SELECT id FROM orders o WHERE {leaving}",
        violations: "
            SELECT o.id FROM orders o
            LEFT JOIN reservations r ON r.order_id = o.id
            LEFT JOIN payments p ON p.order_id = o.id
            WHERE {leaving}
                AND (r.order_id IS NOT NULL
                        AND r.state IS DISTINCT FROM
                            CASE WHEN o.fulfilled_at IS NULL THEN 'RELEASED' ELSE 'SHIPPED' END
                    OR p.order_id IS NOT NULL
                        AND ((p.status = 'SUCCESS') IS DISTINCT FROM (o.fulfilled_at IS NOT NULL)
                            OR p.status = 'PENDING'))",
    },
    // An order is stored before anything is reserved or charged for it.
    InvariantQuery {
        name: "payment-has-order",
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
];
