-- Tillite, schema version 2: at most one session that counts per order, and what is forgotten when.

-- At most one session per order that can still be paid, is being paid, or was.
CREATE UNIQUE INDEX tillite_session_order ON tillite_session (app, mode, order_key)
    WHERE order_key IS NOT NULL AND state IN ('open', 'processing', 'complete');

-- Each key carries its own end, so that engines with different settings on one file keep what each
-- has promised. A key that names a charge whose outcome is awaited is given another day at its end.
ALTER TABLE tillite_idempotency
    ADD COLUMN keep_until INTEGER NOT NULL DEFAULT 0; -- host time from which the key may be forgotten
-- A key from before this version is kept for seven days.
UPDATE tillite_idempotency SET keep_until = created_at + 604800000;
-- The keys in the order in which they are forgotten.
CREATE INDEX tillite_idempotency_end ON tillite_idempotency (app, mode, keep_until);

-- How far old attempts of deliveries have been forgotten; no row: none ever were. They are looked
-- through in rounds, in the order of their deliveries' ids, which is that of time; a round that is not
-- finished is taken up where it stopped.
CREATE TABLE tillite_delivery_retention (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    gone_below TEXT NOT NULL,          -- attempts of deliveries with lesser ids may be gone; never goes back
    seen_to    TEXT NOT NULL,          -- the delivery up to which the round under way has come; empty: none is under way
    next_at    INTEGER NOT NULL,       -- host time from which a round goes on, or the next one starts
    PRIMARY KEY (app, mode)
) STRICT, WITHOUT ROWID;
