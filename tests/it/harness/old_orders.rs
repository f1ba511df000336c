//! Orders that ended long ago.

/// Returns the SQL for the databases of order, inventory and payment. It stores orders that last
/// changed 40 days ago, half of them fulfilled and half cancelled. `count` must be even.
pub fn old_orders(count: u32) -> [String; 3] {
    let orders = format!(
        "(SELECT md5('old ' || n)::uuid AS id, n % 2 = 0 AS fulfilled,
              now() - interval '40 days' + n * interval '1 millisecond' AS at
          FROM generate_series(1, {count}) AS n) AS old"
    );
    let order = format!(
        "INSERT INTO orders (id, product_id, quantity, status, failure_reason, fulfilled_at,
             created_at, updated_at)
         SELECT id, 'PROD-001', 1, CASE WHEN fulfilled THEN 'CONFIRMED' ELSE 'FAILED' END,
             CASE WHEN fulfilled THEN NULL ELSE 'cancelled' END,
             CASE WHEN fulfilled THEN at END, at, at
         FROM {orders};
         INSERT INTO order_events (order_id, at, status, reason, epoch)
         SELECT id, at, status, reason, 1 FROM {orders} CROSS JOIN (VALUES
             ('PENDING', 'placed'), ('CONFIRMED', 'confirmed')) AS change (status, reason)"
    );
    let inventory = format!(
        "INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
         SELECT id, 1, CASE WHEN fulfilled THEN 'SHIPPED' ELSE 'RELEASED' END, 'PROD-001', 1
         FROM {orders};
         UPDATE inventory SET stock = stock - {count} / 2, shipped = shipped + {count} / 2
         WHERE product_id = 'PROD-001'"
    );
    let payment = format!(
        "INSERT INTO payments (order_id, status)
         SELECT id, CASE WHEN fulfilled THEN 'SUCCESS' ELSE 'REFUNDED' END FROM {orders}"
    );
    [order, inventory, payment]
}
