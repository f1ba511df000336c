-- The tables of the specification, and nothing else.
CREATE TABLE orders (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(), product_id VARCHAR(255) NOT NULL,
  quantity INT NOT NULL, status VARCHAR(50) DEFAULT 'PENDING', created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW());
CREATE TABLE inventory (
  product_id VARCHAR(255) PRIMARY KEY, stock INT DEFAULT 100, reserved INT DEFAULT 0);
CREATE TABLE payments (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(), order_id UUID, amount DECIMAL(10,2) DEFAULT 99.99,
  status VARCHAR(50) DEFAULT 'PENDING', created_at TIMESTAMP DEFAULT NOW());
