-- order service: what each replica tells the others of its last requests, so that every one knows the service level of all.
-- Not logged: a row waits for no flush. After a crash of the server, and on a standby that was promoted, the table is empty;
-- within minutes it is full again, and each replica remembers what it has heard.
CREATE UNLOGGED TABLE sla_figures (
    -- A process: a new one at each start.
    replica  UUID        NOT NULL,
    number   BIGINT      NOT NULL,
    -- When these requests ended, within a second.
    at       TIMESTAMPTZ NOT NULL,
    told_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    total_us BIGINT      NOT NULL,
    -- Pairs: so many microseconds, so many times.
    took     JSONB       NOT NULL,
    PRIMARY KEY (replica, number)
);

-- What is new, and what is old enough to be forgotten.
CREATE INDEX sla_figures_told ON sla_figures (told_at);
