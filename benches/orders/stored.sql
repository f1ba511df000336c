-- $ROWS confirmed orders with all their rows, as if one had been placed every 10 ms until now.
-- Their ids are of version 7, as the platform's own: they grow with time. The position of a row in
-- its index is part of its cost.
CREATE TEMPORARY TABLE past AS
  SELECT g::text AS n, ((g - 1) % 1000 + 1)::text AS product_id,
         now() - ($ROWS - g + 1) * interval '10 milliseconds' AS at
  FROM generate_series(1, $ROWS) g;
CREATE FUNCTION pg_temp.id_of(at timestamptz, random text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
    || '7' || substr(random, 1, 3) || '8' || substr(random, 4, 15))::uuid $$;
ALTER TABLE past ADD COLUMN id uuid;
UPDATE past SET id = pg_temp.id_of(at, md5(n));
INSERT INTO orders (id, product_id, quantity, status, created_at, updated_at, next_attempt_at)
  SELECT id, product_id, 1, 'CONFIRMED', at, at, at FROM past ORDER BY at;
INSERT INTO order_events (order_id, at, status, reason, epoch)
  SELECT id, at, status, reason, 1 FROM past,
    (VALUES (1, 'PENDING', 'placed'), (2, 'CONFIRMED', 'confirmed'))
      AS event (position, status, reason)
  ORDER BY at, position;
INSERT INTO reservations (order_id, epoch, state, product_id, quantity, created_at, updated_at)
  SELECT id, 1, 'HELD', product_id, 1, at, at FROM past ORDER BY at;
INSERT INTO payments (id, order_id, status, created_at)
  SELECT pg_temp.id_of(at, md5('payment' || n)), id, 'SUCCESS', at FROM past ORDER BY at;
UPDATE inventory i SET stock = stock - held, reserved = reserved + held
  FROM (SELECT product_id, count(*) AS held FROM past GROUP BY product_id) h
  WHERE h.product_id = i.product_id;
DROP TABLE past;
VACUUM ANALYZE;
-- Writes the dirty pages now rather than during a run.
CHECKPOINT;
