-- Tillite, schema version 3: money goes back.

ALTER TABLE tillite_app
    ADD COLUMN late_payments TEXT NOT NULL DEFAULT 'refund' CHECK (late_payments IN ('refund', 'hold')); -- what becomes of money that arrives when there is nothing left to pay with it: it goes back by itself, or is held for somebody to decide

-- An attempt is committed before anybody is asked, and may be asked for by another process than the
-- one that committed it.
ALTER TABLE tillite_attempt
    ADD COLUMN ask TEXT NOT NULL DEFAULT 'lookup' CHECK (ask IN ('execute', 'lookup')); -- what the processor is asked at due_at, where next is lookup: to carry it out, or what became of it

-- Money on its way back to a buyer. What is open is in the charge's refund_reserved, what succeeded in
-- its refunded; both move in the transaction that moves the refund.
CREATE TABLE tillite_refund (
    app             INTEGER NOT NULL,
    mode            INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id              TEXT NOT NULL,
    charge          TEXT NOT NULL,      -- the charge whose money goes back
    intent          TEXT NOT NULL,      -- the charge's
    session         TEXT NOT NULL,      -- the charge's
    number          INTEGER NOT NULL CHECK (number >= 1), -- 1 for the charge's first refund
    processor       TEXT NOT NULL,      -- the charge's
    state           TEXT NOT NULL CHECK (state IN ('pending', 'unknown', 'succeeded', 'failed', 'canceled')), -- what is known of it; unknown ends by evidence only
    amount          INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991), -- how much goes back
    currency        TEXT NOT NULL,      -- the charge's
    source          TEXT NOT NULL CHECK (source IN ('requested', 'late', 'surplus')), -- who wanted it: the host, or the engine for money that settled nothing
    effect          TEXT NOT NULL CHECK (effect IN ('keep', 'revoke', 'at_period_end')), -- what it does to what the sale granted
    reason          TEXT,               -- in the host's words; null: none
    metadata        TEXT NOT NULL,      -- JSON object of strings
    reference       TEXT,               -- the processor's own name for the refund
    failure_code    TEXT,               -- the reason as a word; null: it did not fail
    failure_message TEXT,               -- the reason for people
    failure_advice  TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')), -- what the processor advises; null: nothing
    mismatched      INTEGER NOT NULL DEFAULT 0 CHECK (mismatched IN (0, 1)), -- 1: another amount went back than was asked, somebody has to decide
    created_at      INTEGER NOT NULL,   -- engine time
    updated_at      INTEGER NOT NULL,   -- engine time
    revision        INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, charge, number),
    FOREIGN KEY (app, mode, charge) REFERENCES tillite_charge (app, mode, id),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
-- The refunds whose outcome is awaited.
CREATE INDEX tillite_refund_open ON tillite_refund (app, mode, id) WHERE state IN ('pending', 'unknown');

-- What of a session's lines a refund is for. A refund without rows here is for no line in particular.
CREATE TABLE tillite_refund_line (
    app      INTEGER NOT NULL,
    mode     INTEGER NOT NULL CHECK (mode IN (0, 1)),
    refund   TEXT NOT NULL,             -- whose part it is
    position INTEGER NOT NULL CHECK (position >= 0), -- the line's place in the session
    quantity INTEGER NOT NULL CHECK (quantity >= 1), -- how many units
    amount   INTEGER NOT NULL CHECK (amount >= 0),   -- what goes back for them
    PRIMARY KEY (app, mode, refund, position),
    FOREIGN KEY (app, mode, refund) REFERENCES tillite_refund (app, mode, id)
) STRICT, WITHOUT ROWID;
