-- $ROWS orders that inventory did not answer for, all due now.
BEGIN;
WITH placed AS (
  INSERT INTO orders (product_id, quantity, status, answered)
    SELECT ((g - 1) % 1000 + 1)::text, 1, 'PENDING_INVENTORY', 'PENDING_INVENTORY' FROM generate_series(1, $ROWS) g
    RETURNING id)
INSERT INTO order_events (order_id, status, reason, attempt)
  SELECT id, status, reason, 1 FROM placed,
    (VALUES ('PENDING', 'placed'), ('PENDING_INVENTORY', 'inventory-unavailable')) AS event (status, reason);
COMMIT;
ANALYZE;
