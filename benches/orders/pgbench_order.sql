-- The minimal SQL of one confirmed order: four statements, each in its own transaction.
-- Uses base_schema.sql, with -D products=1 (hot) or -D products=1000 (spread).
\set product random(1, :products)
INSERT INTO orders (product_id, quantity, status) VALUES (:product, 1, 'PENDING') RETURNING id \gset
UPDATE inventory SET stock = stock - 1, reserved = reserved + 1
  WHERE product_id = :product AND stock >= 1;
INSERT INTO payments (order_id, status) VALUES (:id, 'SUCCESS') RETURNING id;
UPDATE orders SET status = 'CONFIRMED', updated_at = NOW() WHERE id = :id;
