//! Invariants that the rows of one service satisfy among themselves.

use super::query::InvariantQuery;

pub const ROWS: &[InvariantQuery] = &[
    InvariantQuery {
        name: "one-reservation-per-order",
        meaning: "no order has two reservations",
        checked: "SELECT DISTINCT order_id AS id FROM reservations",
        violations: "
            SELECT order_id AS id FROM reservations GROUP BY order_id HAVING count(*) > 1",
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
        name: "finished-in-time",
        meaning: "no order is unfinished for longer than the recovery bound",
        checked: "SELECT id FROM orders o WHERE {unfinished}",
        violations: "
            SELECT id FROM orders o
            WHERE {unfinished} AND created_at < now() - {bound} * interval '1 second'",
    },
    InvariantQuery {
        name: "obligations-met-in-time",
        meaning: "no order has owed a release, a refund or a shipment for longer than the recovery \
                  bound",
        checked: "
            SELECT id FROM orders
            WHERE release_owed_epoch IS NOT NULL OR refund_owed OR shipment_owed",
        violations: "
            SELECT id FROM orders
            WHERE (release_owed_epoch IS NOT NULL OR refund_owed OR shipment_owed)
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
