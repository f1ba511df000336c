-- The tables of the Restate and DBOS implementations. Primary keys and guarded statements make a
-- repeated step harmless: both engines can run a step again after a crash.
CREATE TABLE orders (
  id UUID PRIMARY KEY, product_id VARCHAR(255) NOT NULL, quantity INT NOT NULL,
  status VARCHAR(50) NOT NULL DEFAULT 'PENDING', created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE TABLE inventory (
  product_id VARCHAR(255) PRIMARY KEY, stock INT NOT NULL DEFAULT 100 CHECK (stock >= 0),
  reserved INT NOT NULL DEFAULT 0 CHECK (reserved >= 0));
-- A release before the reserve leaves a row without a product, so that a late reserve does nothing.
CREATE TABLE reservations (
  order_id UUID PRIMARY KEY, product_id VARCHAR(255), quantity INT,
  state VARCHAR(20) NOT NULL CHECK (state IN ('HELD', 'RELEASED')));
CREATE TABLE payments (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(), order_id UUID NOT NULL UNIQUE,
  amount DECIMAL(10,2) NOT NULL DEFAULT 99.99, status VARCHAR(50) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now());
