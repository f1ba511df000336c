-- $ROWS pending orders that are all due now: inventory did not respond to them.
BEGIN;
WITH placed AS (
  INSERT INTO orders (product_id, quantity, status)
    SELECT ((g - 1) % 1000 + 1)::text, 1, 'PENDING_INVENTORY' FROM generate_series(1, $ROWS) g
    RETURNING id)
INSERT INTO order_events (order_id, status, reason, epoch)
  SELECT id, status, reason, 1 FROM placed,
    (VALUES ('PENDING', 'placed'), ('PENDING_INVENTORY', 'inventory-timed-out'))
      AS event (status, reason);
COMMIT;
ANALYZE;
