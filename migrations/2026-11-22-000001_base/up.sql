-- Every table belongs to one service. No foreign key crosses from one service to another, so that
-- each service can be given a database of its own.

-- order service -----------------------------------------------------------------------------

CREATE TABLE orders (
    id              UUID          PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id      VARCHAR(255)  NOT NULL CONSTRAINT orders_product_id_given CHECK (product_id <> ''),
    quantity        INT           NOT NULL CONSTRAINT orders_quantity_range CHECK (quantity BETWEEN 1 AND 1000),
    -- What payment is asked to charge. The audit compares the payment with it.
    amount          DECIMAL(10,2) NOT NULL DEFAULT 99.99,
    status          VARCHAR(50)   NOT NULL DEFAULT 'PENDING' CONSTRAINT orders_status_known
        CHECK (status IN ('PENDING', 'CONFIRMED', 'FAILED', 'PENDING_INVENTORY', 'PENDING_PAYMENT')),
    failure_reason  VARCHAR(50),
    -- The fencing token: each takeover of an unfinished order raises it (ARCHITECTURE.md).
    epoch           INT           NOT NULL DEFAULT 1 CONSTRAINT orders_epoch_positive CHECK (epoch >= 1),
    -- The obligations: the epoch whose hold must be released, and whether a charge must be refunded.
    release_due     INT,
    void_due        BOOLEAN       NOT NULL DEFAULT FALSE,
    -- Since when the order has owed something without a break; null while it owes nothing.
    owed_since      TIMESTAMPTZ,
    -- Until then the order belongs to the attempt that drives it.
    lease_until     TIMESTAMPTZ,
    next_attempt_at TIMESTAMPTZ   NOT NULL DEFAULT now(),
    -- Attempts since the status last changed; the backoff grows with them.
    attempts        INT           NOT NULL DEFAULT 0,
    idempotency_key VARCHAR(255),
    -- The status that the order's own request was answered with; null until it is answered.
    answered        VARCHAR(50),
    traceparent     VARCHAR(55),
    created_at      TIMESTAMPTZ   NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ   NOT NULL DEFAULT now(),
    CONSTRAINT orders_failed_has_reason CHECK ((status = 'FAILED') = (failure_reason IS NOT NULL)),
    CONSTRAINT orders_confirmed_owes_nothing CHECK (status <> 'CONFIRMED' OR (release_due IS NULL AND NOT void_due))
) WITH (
    fillfactor = 85,
    -- By default a table is vacuumed only once a fifth of it has changed.
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

-- Pages of orders, the newest first: of one status, or of one product. A page of all orders merges
-- the statuses (src/order/store/page.rs), so it needs no index of its own.
CREATE INDEX orders_by_status ON orders (status, created_at DESC, id DESC);
-- The collation keeps the two apart: a condition on the status of a product's orders names it, and can
-- then be served by the second index alone, whatever the planner believes about the number of rows.
CREATE INDEX orders_by_product ON orders (product_id, status COLLATE "C", created_at DESC, id DESC);

-- What recovery has to finish, and what it has to settle; the order that is due longest comes first.
CREATE INDEX orders_unfinished ON orders (next_attempt_at)
    WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT');
CREATE INDEX orders_owing ON orders (next_attempt_at)
    WHERE status IN ('CONFIRMED', 'FAILED') AND (release_due IS NOT NULL OR void_due);

CREATE UNIQUE INDEX orders_idempotency_key ON orders (idempotency_key) WHERE idempotency_key IS NOT NULL;
-- To forget keys that are old enough.
CREATE INDEX orders_keys_by_age ON orders (created_at) WHERE idempotency_key IS NOT NULL;

-- What happened to an order, written by the statement that made it happen. That statement takes the
-- order's id from the row that it wrote, so a foreign key would only check again what cannot be wrong.
CREATE TABLE order_events (
    id       BIGINT      GENERATED ALWAYS AS IDENTITY,
    -- The transaction that wrote the event. The live stream goes by it: a snapshot tells which
    -- transactions can still commit, which an event's number alone cannot.
    xid      xid8        NOT NULL DEFAULT pg_current_xact_id(),
    order_id UUID        NOT NULL,
    at       TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    status   VARCHAR(50) NOT NULL,
    reason   VARCHAR(50) NOT NULL,
    attempt  INT         NOT NULL,
    trace_id VARCHAR(32),
    PRIMARY KEY (xid, id)
);

CREATE INDEX order_events_of_order ON order_events (order_id, id);

-- What each replica reports of its last requests, so that each one knows the service level of all.
-- Unlogged: a row waits for no flush. After a crash of the server, and on a standby that was promoted,
-- the table is empty; it fills again within minutes, and each replica keeps what it has read.
CREATE UNLOGGED TABLE sla_figures (
    -- A process: a new one at each start.
    replica  UUID        NOT NULL,
    number   BIGINT      NOT NULL,
    -- When these requests ended, within a second.
    at       TIMESTAMPTZ NOT NULL,
    told_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    total_us BIGINT      NOT NULL,
    -- Pairs: a latency in microseconds, and how many requests had it.
    took     JSONB       NOT NULL,
    PRIMARY KEY (replica, number)
);

-- What is new, and what is old enough to be removed.
CREATE INDEX sla_figures_told ON sla_figures (told_at);

-- inventory service -------------------------------------------------------------------------

-- No quantity exceeds 2,000,000,000, so that no sum of two overflows an INT.
CREATE TABLE inventory (
    product_id VARCHAR(255) PRIMARY KEY,
    stock      INT NOT NULL DEFAULT 100 CONSTRAINT inventory_stock_range CHECK (stock BETWEEN 0 AND 2000000000),
    reserved   INT NOT NULL DEFAULT 0 CONSTRAINT inventory_reserved_range CHECK (reserved BETWEEN 0 AND 2000000000),
    -- What was ever delivered: stock + reserved must always add up to it. A delivery raises both
    -- this and stock; a new row starts with what it holds.
    stocked    INT NOT NULL CONSTRAINT inventory_stocked_range CHECK (stocked BETWEEN 0 AND 2000000000)
) WITH (
    -- A product's row is changed in place by every batch. With room on its page the new version stays
    -- there, and no index has to learn of it.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
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
