-- Each table belongs to one service. No foreign key crosses services, so that each service can have
-- a database of its own.

-- Types with a condition on one value -------------------------------------------------------------

-- PostgreSQL keeps the condition of a domain for a whole session. It parses and plans the CHECK
-- constraints of a table again for each statement, which took a third of the instructions of an
-- order that is alone (docs/adr/0010-conditions-on-one-value-are-domains.md). So only a condition
-- on several columns is a constraint of its table.

CREATE DOMAIN order_status AS VARCHAR(50)
    CONSTRAINT order_status_known CHECK (
        VALUE IN ('PENDING', 'CONFIRMED', 'FAILED', 'PENDING_INVENTORY', 'PENDING_PAYMENT'));
CREATE DOMAIN reservation_state AS VARCHAR(20)
    CONSTRAINT reservation_state_known CHECK (VALUE IN ('HELD', 'RELEASED', 'SHIPPED'));
CREATE DOMAIN payment_status AS VARCHAR(50)
    CONSTRAINT payment_status_known CHECK (
        VALUE IN ('PENDING', 'SUCCESS', 'FAILED', 'REFUNDED', 'VOIDED'));

CREATE DOMAIN non_empty_id AS VARCHAR(255) CONSTRAINT non_empty_id_given CHECK (VALUE <> '');
CREATE DOMAIN fencing_epoch AS INT CONSTRAINT fencing_epoch_positive CHECK (VALUE >= 1);
CREATE DOMAIN positive_amount AS DECIMAL(10,2)
    CONSTRAINT positive_amount_range CHECK (VALUE > 0);

CREATE DOMAIN order_quantity AS INT
    CONSTRAINT order_quantity_range CHECK (VALUE BETWEEN 1 AND 1000);
-- Units that a reservation holds.
CREATE DOMAIN held_quantity AS INT CONSTRAINT held_quantity_positive CHECK (VALUE > 0);
-- Units of a product. The upper bounds leave room below the largest INT (2,147,483,647), so that
-- adding the units of a batch violates a constraint and does not overflow.
CREATE DOMAIN stock_units AS INT
    CONSTRAINT stock_units_range CHECK (VALUE BETWEEN 0 AND 2000000000);
-- Negative for a correction.
CREATE DOMAIN delivered_units AS INT
    CONSTRAINT delivered_units_range
    CHECK (VALUE BETWEEN -2000000000 AND 2000000000 AND VALUE <> 0);
-- Units of all shipments of a product that retention has deleted.
CREATE DOMAIN forgotten_units AS BIGINT CONSTRAINT forgotten_units_positive CHECK (VALUE > 0);
-- The key of a table that has at most one row.
CREATE DOMAIN only_row AS BOOLEAN CONSTRAINT only_row_true CHECK (VALUE);

-- Order service -----------------------------------------------------------------------------------

CREATE TABLE orders (
    id                 UUID          PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id         non_empty_id  NOT NULL,
    quantity           order_quantity NOT NULL,
    -- The amount to charge. The audit compares the payment with it.
    amount             DECIMAL(10,2) NOT NULL DEFAULT 99.99,
    status             order_status  NOT NULL DEFAULT 'PENDING',
    failure_reason     VARCHAR(50),
    -- The fencing token. The request that placed the order has epoch 1; each takeover by recovery
    -- raises the epoch (ARCHITECTURE.md).
    epoch              fencing_epoch NOT NULL DEFAULT 1,
    -- The epoch at which a release of the order's stock became owed; null when none is owed.
    release_owed_epoch INT,
    -- Whether payment must still refund the order's charge, or forbid it if it was never made.
    refund_owed        BOOLEAN       NOT NULL DEFAULT FALSE,
    -- Whether inventory must still ship what the order holds. The order cannot be cancelled then.
    shipment_owed      BOOLEAN       NOT NULL DEFAULT FALSE,
    -- When the goods left.
    fulfilled_at       TIMESTAMPTZ,
    -- Since when an order with a final status has owed something without a break; null while it
    -- owes nothing or is pending.
    owed_since         TIMESTAMPTZ,
    -- Recovery does not take the order over before this time: an attempt is working on it.
    lease_until        TIMESTAMPTZ,
    next_attempt_at    TIMESTAMPTZ   NOT NULL DEFAULT now(),
    -- Takeovers since the status last changed. The backoff grows with them.
    takeovers          INT           NOT NULL DEFAULT 0,
    -- The last call that failed in the last attempt: an element of order_events.steps.
    last_failure       JSONB,
    idempotency_key    VARCHAR(255),
    -- The last status that the request that placed the order has stored; null until it stores one.
    -- While it is null and the lease lasts, that request is in progress.
    response_status    VARCHAR(50),
    -- When it stored that status.
    response_at        TIMESTAMPTZ,
    traceparent        VARCHAR(55),
    created_at         TIMESTAMPTZ   NOT NULL DEFAULT now(),
    updated_at         TIMESTAMPTZ   NOT NULL DEFAULT now(),
    CONSTRAINT orders_failed_has_reason
        CHECK ((status = 'FAILED') = (failure_reason IS NOT NULL)),
    CONSTRAINT orders_confirmed_gives_nothing_back
        CHECK (status <> 'CONFIRMED' OR (release_owed_epoch IS NULL AND NOT refund_owed)),
    CONSTRAINT orders_shipped_is_confirmed
        CHECK (status = 'CONFIRMED' OR (fulfilled_at IS NULL AND NOT shipment_owed)),
    CONSTRAINT orders_shipped_once CHECK (fulfilled_at IS NULL OR NOT shipment_owed)
) WITH (
    -- Every order is updated soon after its insert. Free space keeps the new version on its page.
    fillfactor = 85,
    -- PostgreSQL's default vacuums and analyzes a table after a fifth and a tenth of it changed.
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

-- Orders that recovery still has work with. An order with an unknown status, written by a newer
-- release, is not among them.
--
-- A query that asks for `is_pending` or for `is_owing` can use the partial index with the same
-- condition below. Keep view and indexes word for word alike.
CREATE VIEW unsettled_orders AS
    SELECT * FROM (
        SELECT *,
            status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT') AS is_pending,
            status IN ('CONFIRMED', 'FAILED')
                AND (release_owed_epoch IS NOT NULL OR refund_owed OR shipment_owed) AS is_owing
        FROM orders) AS classified
    WHERE is_pending OR is_owing;

CREATE INDEX orders_pending ON orders (next_attempt_at)
    WHERE status IN ('PENDING', 'PENDING_INVENTORY', 'PENDING_PAYMENT');
CREATE INDEX orders_owing ON orders (next_attempt_at)
    WHERE status IN ('CONFIRMED', 'FAILED')
        AND (release_owed_epoch IS NOT NULL OR refund_owed OR shipment_owed);

-- Pages of orders, newest first: of one status, or of one product and status. A page of all orders
-- is merged from a page of each status (src/order/store/pagination.rs) and needs no index of its
-- own.
CREATE INDEX orders_by_status ON orders (status, created_at DESC, id DESC);
-- A query for a product's orders compares the status in collation "C". Only this index has that
-- collation, so the planner cannot choose the index above for it, whatever its estimates are.
CREATE INDEX orders_by_product
    ON orders (product_id, status COLLATE "C", created_at DESC, id DESC);

CREATE UNIQUE INDEX orders_idempotency_key ON orders (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
-- Finds the idempotency keys that are old enough to be removed.
CREATE INDEX orders_keys_by_age ON orders (created_at) WHERE idempotency_key IS NOT NULL;

-- The changes of orders. The statement that changes an order also writes the event, and takes the
-- order's id from the row that it wrote, so a foreign key would check what cannot be wrong.
CREATE TABLE order_events (
    id       BIGINT      GENERATED ALWAYS AS IDENTITY,
    -- The transaction that wrote the event. The live stream reads by transaction: a snapshot says
    -- which transactions can still commit, which the id alone does not.
    xid      xid8        NOT NULL DEFAULT pg_current_xact_id(),
    order_id UUID        NOT NULL,
    at       TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    -- The order's status after the change.
    status   VARCHAR(50) NOT NULL,
    reason   VARCHAR(50) NOT NULL,
    -- The epoch of the attempt that made the change.
    epoch    INT         NOT NULL,
    trace_id VARCHAR(32),
    -- The calls that the attempt made since its previous change: an array of objects with
    -- `step`, `outcome`, `detail`, `started_at` and `duration_ms`.
    steps    JSONB       NOT NULL DEFAULT '[]',
    PRIMARY KEY (xid, id)
);

CREATE INDEX order_events_of_order ON order_events (order_id, id);

-- Orders that retention is deleting. Inventory and payment may have deleted their rows already. A
-- row here is deleted by the statement that deletes its order.
CREATE TABLE leaving_orders (
    order_id        UUID        PRIMARY KEY,
    since           TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- Retention leaves the order alone before this time: a run is working on it, or a service has
    -- refused to delete its row.
    next_attempt_at TIMESTAMPTZ NOT NULL,
    -- Why a service refused; null while none has.
    refusal         TEXT
) WITH (
    -- Every order that leaves is inserted and deleted soon after.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

CREATE INDEX leaving_orders_due ON leaving_orders (next_attempt_at);
-- Each run counts the orders that stay. Nearly always there are none.
CREATE INDEX leaving_orders_refused ON leaving_orders (order_id) WHERE refusal IS NOT NULL;

-- The newest event that retention has deleted. A listener of the live stream that resumes before
-- it has missed changes that it cannot get any more. At most one row.
CREATE TABLE forgotten_events (
    is_only only_row PRIMARY KEY DEFAULT TRUE,
    xid     xid8     NOT NULL,
    id      BIGINT   NOT NULL
);

-- The latencies that each replica of the order service measured, so that every replica can report
-- the service level of all.
-- Unlogged: a write does not wait for a flush to disk. The table is empty after a crash of the
-- server and on a promoted standby. Replicas then go on with what they have in memory.
CREATE UNLOGGED TABLE sla_reports (
    -- A process. Each start of a replica has a new id.
    replica           UUID        NOT NULL,
    -- Counts the reports of a replica.
    number            BIGINT      NOT NULL,
    -- When the requests of the report ended, to the second.
    at                TIMESTAMPTZ NOT NULL,
    reported_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- The sum of the latencies in microseconds.
    total_us          BIGINT      NOT NULL,
    -- An array of pairs: a latency in microseconds, and the number of requests with that latency.
    latency_histogram JSONB       NOT NULL,
    PRIMARY KEY (replica, number)
);

-- Finds the reports that are new, and those that are old enough to be removed.
CREATE INDEX sla_reports_by_time ON sla_reports (reported_at);

-- Inventory service -------------------------------------------------------------------------------

CREATE TABLE inventory (
    product_id VARCHAR(255) PRIMARY KEY,
    -- Units that can still be reserved.
    stock      stock_units NOT NULL DEFAULT 100,
    -- Units that are held for orders.
    reserved   stock_units NOT NULL DEFAULT 0,
    -- Units that have left with shipped orders.
    shipped    stock_units NOT NULL DEFAULT 0,
    -- The sum of the product's deliveries, and what stock + reserved + shipped must add up to; the
    -- audit checks both. A trigger sets it for a new row that has none.
    stocked    stock_units NOT NULL
) WITH (
    -- Every batch updates the rows of its products. Free space keeps the new version on its page,
    -- so that no index entry is written.
    fillfactor = 50,
    -- Vacuumed after 5000 row updates, however many products there are.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

CREATE FUNCTION inventory_opening_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.stocked := COALESCE(NEW.stocked, NEW.stock + NEW.reserved + NEW.shipped);
    RETURN NEW;
END $$;

CREATE TRIGGER inventory_opening_stock BEFORE INSERT ON inventory
    FOR EACH ROW EXECUTE FUNCTION inventory_opening_stock();

-- One row for each delivery and each correction of stock. The statement that changes `stocked` of
-- a product also writes the row. A row never changes, so that a repetition finds what the delivery
-- did.
CREATE TABLE deliveries (
    delivery_id non_empty_id    PRIMARY KEY DEFAULT gen_random_uuid()::text,
    product_id  non_empty_id    NOT NULL,
    quantity    delivered_units NOT NULL,
    -- The figures of the product after the delivery.
    stock       stock_units     NOT NULL,
    reserved    stock_units     NOT NULL,
    stocked     stock_units     NOT NULL,
    created_at  TIMESTAMPTZ     NOT NULL DEFAULT now()
);

CREATE INDEX deliveries_of_product ON deliveries (product_id);

-- The opening stock of a new product is its first delivery. A product whose deliveries are there
-- already gets none: its row was deleted and is restored.
CREATE FUNCTION inventory_opening_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deliveries (product_id, quantity, stock, reserved, stocked)
    SELECT NEW.product_id, NEW.stocked, NEW.stock, NEW.reserved, NEW.stocked
    WHERE NEW.stocked <> 0
        AND NOT EXISTS (SELECT FROM deliveries d WHERE d.product_id = NEW.product_id);
    RETURN NULL;
END $$;

CREATE TRIGGER inventory_opening_delivery AFTER INSERT ON inventory
    FOR EACH ROW EXECUTE FUNCTION inventory_opening_delivery();

INSERT INTO inventory (product_id, stock)
VALUES ('PROD-001', 100), ('PROD-002', 50), ('PROD-003', 25);

-- The ledger: one row for each order that has held stock or was released. A row changes in the
-- transaction that moves the stock. A release that arrives before its reserve inserts a row without
-- a product: a tombstone, which the late reserve finds. A shipped row does not change any more.
CREATE TABLE reservations (
    order_id   UUID              PRIMARY KEY,
    -- The highest epoch that has written the row.
    epoch      fencing_epoch     NOT NULL,
    state      reservation_state NOT NULL,
    product_id VARCHAR(255),
    quantity   held_quantity,
    created_at TIMESTAMPTZ       NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ       NOT NULL DEFAULT now(),
    CONSTRAINT reservations_has_product_unless_released
        CHECK (state = 'RELEASED' OR (product_id IS NOT NULL AND quantity IS NOT NULL))
);

-- The units of shipped reservations that retention has deleted, by product. `shipped` of a product
-- is the sum of these and of its shipped reservations. A table of its own: an update of the
-- product's row would lock it, and orders of the product would wait.
CREATE TABLE forgotten_shipments (
    product_id VARCHAR(255)    PRIMARY KEY,
    quantity   forgotten_units NOT NULL
);

-- Payment service ---------------------------------------------------------------------------------

CREATE TABLE payments (
    id         UUID            PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id   UUID            NOT NULL CONSTRAINT payments_once_per_order UNIQUE,
    amount     positive_amount NOT NULL DEFAULT 99.99,
    status     payment_status  NOT NULL DEFAULT 'PENDING',
    created_at TIMESTAMPTZ     NOT NULL DEFAULT now()
);
