//! Invariants of stock and deliveries, by product.

use super::query::InvariantQuery;

// `product-has-inventory` compares orders with inventory. Orders are read first. An order fails
// with `insufficient-stock` only if its product has a row of inventory, and no service deletes one.
pub const STOCK: &[InvariantQuery] = &[
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
        meaning: "shipped is the sum of the shipped reservations, and of those that were deleted \
                  with old orders",
        checked: "SELECT product_id AS id FROM inventory",
        violations: "
            SELECT COALESCE(i.product_id, r.product_id) AS id FROM inventory i
            FULL JOIN (SELECT product_id, sum(quantity) AS total FROM (
                           SELECT product_id, quantity::bigint FROM reservations
                           WHERE state = 'SHIPPED'
                           UNION ALL SELECT product_id, quantity FROM forgotten_shipments
                       ) AS shipments GROUP BY product_id) r USING (product_id)
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
];
