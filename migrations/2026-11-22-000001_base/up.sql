-- Every table belongs to one service; no foreign key crosses from one service to another,
-- so that each service can be given a database of its own.

-- order service -----------------------------------------------------------------------------

CREATE TABLE orders (
    id              UUID         PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id      VARCHAR(255) NOT NULL CONSTRAINT orders_product_id_given CHECK (product_id <> ''),
    quantity        INT          NOT NULL CONSTRAINT orders_quantity_range CHECK (quantity BETWEEN 1 AND 1000),
    status          VARCHAR(50)  NOT NULL DEFAULT 'PENDING' CONSTRAINT orders_status_known
        CHECK (status IN ('PENDING', 'CONFIRMED', 'FAILED', 'PENDING_INVENTORY', 'PENDING_PAYMENT')),
    failure_reason  VARCHAR(50),
    -- The fencing token: each takeover of an unfinished order raises it (docs: ARCHITECTURE.md).
    epoch           INT          NOT NULL DEFAULT 1 CONSTRAINT orders_epoch_positive CHECK (epoch >= 1),
    -- Epoch whose hold must still be given back, and whether a charge must still be undone.
    release_due     INT,
    void_due        BOOLEAN      NOT NULL DEFAULT FALSE,
    -- Until then the order belongs to whoever drives it now.
    lease_until     TIMESTAMPTZ,
    next_attempt_at TIMESTAMPTZ  NOT NULL DEFAULT now(),
    attempts        INT          NOT NULL DEFAULT 0,
    idempotency_key VARCHAR(255),
    -- The status that its request was answered with, to be given again for the same key.
    answered        VARCHAR(50),
    traceparent     VARCHAR(55),
    created_at      TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ  NOT NULL DEFAULT now(),
    CONSTRAINT orders_failed_has_reason CHECK ((status = 'FAILED') = (failure_reason IS NOT NULL)),
    CONSTRAINT orders_confirmed_owes_nothing CHECK (status <> 'CONFIRMED' OR (release_due IS NULL AND NOT void_due))
);

-- The newest first, page by page.
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);

-- What recovery has to do, the longest due first; a settled order is not in it.
CREATE INDEX orders_unsettled ON orders (next_attempt_at)
    WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT') OR release_due IS NOT NULL OR void_due;

CREATE UNIQUE INDEX orders_idempotency_key ON orders (idempotency_key) WHERE idempotency_key IS NOT NULL;
-- To forget keys that are old enough.
CREATE INDEX orders_keys_by_age ON orders (created_at) WHERE idempotency_key IS NOT NULL;

-- What happened to an order, written in the statement that made it happen.
CREATE TABLE order_events (
    id       BIGINT      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id UUID        NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    at       TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    status   VARCHAR(50) NOT NULL,
    reason   VARCHAR(50) NOT NULL,
    attempt  INT         NOT NULL,
    trace_id VARCHAR(32)
);

CREATE INDEX order_events_of_order ON order_events (order_id, id);

-- inventory service -------------------------------------------------------------------------

CREATE TABLE inventory (
    product_id VARCHAR(255) PRIMARY KEY,
    stock      INT NOT NULL DEFAULT 100 CONSTRAINT inventory_stock_not_negative CHECK (stock >= 0),
    reserved   INT NOT NULL DEFAULT 0   CONSTRAINT inventory_reserved_not_negative CHECK (reserved >= 0),
    -- What was ever delivered: stock + reserved must always add up to it. A delivery raises both
    -- this and stock; a new row starts with what it holds.
    stocked    INT NOT NULL
);

CREATE FUNCTION inventory_opening_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.stocked := COALESCE(NEW.stocked, NEW.stock + NEW.reserved);
    RETURN NEW;
END $$;

CREATE TRIGGER inventory_opening_stock BEFORE INSERT ON inventory
    FOR EACH ROW EXECUTE FUNCTION inventory_opening_stock();

INSERT INTO inventory (product_id, stock) VALUES ('PROD-001', 100), ('PROD-002', 50), ('PROD-003', 25);

-- One row for each order that inventory has heard of; moved in the transaction that moves the stock.
-- A release that overtook its reserve leaves a row without product: the tombstone the late reserve finds.
CREATE TABLE reservations (
    order_id   UUID         PRIMARY KEY,
    epoch      INT          NOT NULL CONSTRAINT reservations_epoch_positive CHECK (epoch >= 1),
    state      VARCHAR(20)  NOT NULL CONSTRAINT reservations_state_known CHECK (state IN ('HELD', 'RELEASED')),
    product_id VARCHAR(255),
    quantity   INT          CONSTRAINT reservations_quantity_positive CHECK (quantity > 0),
    created_at TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ  NOT NULL DEFAULT now(),
    CONSTRAINT reservations_held_of_something
        CHECK (state = 'RELEASED' OR (product_id IS NOT NULL AND quantity IS NOT NULL))
);

-- payment service ---------------------------------------------------------------------------

CREATE TABLE payments (
    id         UUID          PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id   UUID          NOT NULL CONSTRAINT payments_once_per_order UNIQUE,
    amount     DECIMAL(10,2) NOT NULL DEFAULT 99.99 CONSTRAINT payments_amount_positive CHECK (amount > 0),
    status     VARCHAR(50)   NOT NULL DEFAULT 'PENDING' CONSTRAINT payments_status_known
        CHECK (status IN ('PENDING', 'SUCCESS', 'FAILED', 'REFUNDED', 'VOIDED')),
    created_at TIMESTAMPTZ   NOT NULL DEFAULT now()
);
