-- Enough stock for any run, of the platform's products "1" to "1000" and of PROD-001. A trigger
-- sets `stocked` of a new row and records its stock as a delivery. A statement that adds stock to
-- an existing row must do both, or the audit fails.
INSERT INTO inventory (product_id, stock)
  SELECT g::text, 2000000000 FROM generate_series(1, 1000) g;
WITH moved AS (
  UPDATE inventory SET stock = 2000000000, stocked = 2000000000
  WHERE product_id = 'PROD-001' AND reserved = 0
  RETURNING product_id, stock, reserved, stocked)
INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
  SELECT product_id, stocked - (
    SELECT sum(quantity) FROM deliveries WHERE product_id = 'PROD-001'), stock, reserved, stocked
  FROM moved;
VACUUM ANALYZE;
