-- The platform's own products "1" to "1000" and PROD-001, deep enough for any run. A new row's `stocked` is filled by its
-- trigger; an old one's must be raised with the stock, or the books would not balance.
INSERT INTO inventory (product_id, stock) SELECT g::text, 2000000000 FROM generate_series(1, 1000) g;
UPDATE inventory SET stock = 2000000000, stocked = 2000000000 + reserved WHERE product_id = 'PROD-001';
VACUUM ANALYZE;
