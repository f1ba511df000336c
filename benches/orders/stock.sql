-- Enough stock for any run, of the platform's products "1" to "1000" and of PROD-001. A trigger
-- sets `stocked` of a new row. In an existing row it must be raised with the stock, or the audit
-- fails.
INSERT INTO inventory (product_id, stock)
  SELECT g::text, 2000000000 FROM generate_series(1, 1000) g;
UPDATE inventory SET stock = 2000000000, stocked = 2000000000 + reserved
  WHERE product_id = 'PROD-001';
VACUUM ANALYZE;
